"""The event-driven replay of a plan: a second opinion on its latency."""
