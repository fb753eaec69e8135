"""Target files: schema, checks, quantities with sources, inheritance, overrides."""
