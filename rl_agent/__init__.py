"""Agents that play the allocation game."""
