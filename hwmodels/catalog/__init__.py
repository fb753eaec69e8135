"""Target files, YAML descriptions of chips in which every figure has a source.

    yaml_reader -> registry (inheritance) -> overrides -> checks -> schema.resolve -> `Target`

`quantities` has the kinds of figures; docs/targets.md explains the format.
"""
