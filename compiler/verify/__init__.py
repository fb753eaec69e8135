"""Is a plan legal? Independent of every solver; docs/plan-semantics.md has the rules."""
