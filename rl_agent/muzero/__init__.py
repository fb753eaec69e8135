"""`muzero`: the paper's agent on the allocation game, in JAX on mctx (extra `muzero`)."""
