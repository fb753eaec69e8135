"""two_tier."""
