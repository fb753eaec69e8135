"""Hardware: targets, the cost model, bounds and the event-driven simulator."""
