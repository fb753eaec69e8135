"""Benchmarks: suites of compilations, each row in a process of its own, resumable, in one table."""
