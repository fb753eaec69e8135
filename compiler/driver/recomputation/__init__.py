"""`--recompute auto`: the model in the schedule that is found, and what is told of it."""
