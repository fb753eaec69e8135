"""The value of a schedule on a coarse axis of time: profiles of groups, their program, its LP."""
