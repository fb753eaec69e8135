"""The target files that ship with ullage; docs/targets.md explains their format."""
