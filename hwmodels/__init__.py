"""Hardware: targets, resources, the cost model, bounds, the event-driven replay."""
