"""The driver: the main job, from a model to a verified, scored plan, and its summary."""
