"""Families: a few plans for all lengths of a symbolic dimension (docs/families.md)."""
