"""Random rectangles to pack: intervals of time with sizes."""

import numpy as np


def random_instance(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    starts = random.integers(0, count, count)
    durations = 1 + random.lognormal(1.5, 1.2, count).astype(np.int64)
    return starts, starts + durations, 1 + random.lognormal(4, 1.2, count).astype(np.int64)
