"""multi_tier."""
