"""Two objectives at once: one is minimised while the other stays within a limit."""
