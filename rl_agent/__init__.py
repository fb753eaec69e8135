"""The allocation game and the agents that play it (docs/rl.md)."""
