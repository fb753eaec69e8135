"""Questions about several plans or none: analyze, compare, sweep, and their pictures."""
