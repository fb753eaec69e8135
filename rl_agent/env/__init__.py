"""The allocation game: instances, rules, observations, the Gymnasium environment."""
