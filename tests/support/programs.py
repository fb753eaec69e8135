"""Random programs of a few bytes, for twins that look at every byte."""

from random import Random

from ullage.compiler.ir.program import DMA_STEP, Buffer, Program, Step, Use


def random_ranges(rng: Random) -> Program:
    """Buffers of a few bytes of every kind, used in ranges (some empty), some of them outputs.

    Nothing else is right about it: weights are written, and bytes are read that nobody wrote.
    """
    steps = rng.randint(1, 6)
    buffers = []
    for index in range(rng.randint(0, 4)):
        kind = rng.choice(("input", "weight", "activation", "output"))
        size = rng.randint(1, 8)
        outputs = [_range(rng, size) for _ in range(rng.choice((0, 0, 1, 2)))]
        buffers.append(Buffer(f"b{index}", size, kind, (), tuple(outputs)))
    made = []
    for t in range(steps):
        uses = []
        for index in range(len(buffers)):
            for _ in range(rng.choice((0, 1, 1, 2))):
                low, high = _range(rng, buffers[index].size_bytes)
                accessed = rng.choice((high - low, rng.randint(0, high - low)))
                uses.append(Use(index, low, high, rng.random() < 0.4, accessed, "v"))
        rng.shuffle(uses)
        kind = "Op" if uses else DMA_STEP
        made.append(Step(f"s{t}", kind, t, tuple(uses), workspace_bytes=rng.choice((0, 0, 5))))
    return Program("random", "model", tuple(made), tuple(buffers), rng.random() < 0.3)


def _range(rng: Random, size: int) -> tuple[int, int]:
    low, high = sorted((rng.randint(0, size), rng.randint(0, size)))
    return low, high
