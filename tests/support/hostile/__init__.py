"""Hostile ONNX files, seeded: what a fuzzer, a broken exporter or an attacker would hand over.

Half of the cases damage the bytes of small valid models, a quarter damages their fields, the rest
are written to be absurd: giant dimensions, cycles, recursion, operators at random with arguments
at random.
"""

from collections.abc import Callable, Sequence
from random import Random

from .arguments import (
    absurd_initializer,
    big_but_lawful,
    giant_constant,
    giant_dims,
    hostile_axis,
    hostile_loop,
    hostile_window,
    small_shapes,
)
from .damage import bit_flipped, misfielded, spliced, truncated
from .operators import random_operators
from .structure import (
    bad_names,
    cyclic,
    deep_subgraphs,
    many_constants,
    many_subgraphs,
    nonsense,
    odd_opsets,
    recursive_functions,
)
from .valid import valid_models

__all__ = ["ATTACKS", "GENERATORS", "hostile_file", "valid_models"]

ATTACKS: Sequence[Callable[[Random], bytes]] = (
    giant_constant,
    giant_constant,
    giant_dims,
    big_but_lawful,
    cyclic,
    deep_subgraphs,
    recursive_functions,
    hostile_window,
    hostile_window,
    hostile_axis,
    hostile_axis,
    hostile_axis,
    hostile_loop,
    bad_names,
    absurd_initializer,
    small_shapes,
    odd_opsets,
    nonsense,
    many_constants,
    many_subgraphs,
)


def absurd(random: Random) -> bytes:
    """One of the attacks above."""
    return random.choice(ATTACKS)(random)


GENERATORS: Sequence[Callable[[Random], bytes]] = (
    truncated,
    bit_flipped,
    spliced,
    misfielded,
    misfielded,
    random_operators,
    random_operators,
    absurd,
    absurd,
    absurd,
)


def hostile_file(seed: int) -> tuple[str, bytes]:
    """Name of the generator and the file of case number `seed` (for one version of onnx)."""
    random = Random(seed)
    make = GENERATORS[seed % len(GENERATORS)]
    name = make.__name__
    if make is absurd:
        make = random.choice(ATTACKS)
        name = make.__name__
    return name, make(random)
