"""Published integer programs for recomputation, as baselines: Checkmate's and POET's."""
