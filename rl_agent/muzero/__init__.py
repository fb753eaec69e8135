"""The agent of arXiv 2305.07440: networks, search, replay buffer, training (extra `muzero`)."""
