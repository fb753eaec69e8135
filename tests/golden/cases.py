"""The golden cases: twelve models, each on a target of another kind, and seven solvers.

Work is limited by counts, never by seconds, so that a case has one answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.models import MODELS, model_file
from ullage.compiler.driver.options import CompileOptions

SEEDS = (0, 1)

# Each solver with the counted work that it may spend.
SOLVERS: Mapping[str, Mapping[str, int]] = {
    "all-slow": {},
    "greedy": {},
    "msa": {},
    "fluid": {"search_work": 1_000_000},
    "noisy-greedy": {"simulations": 24},
    "evolution": {"simulations": 24},
    "rl": {"simulations": 24},
}


@dataclass(frozen=True)
class GoldenModel:
    """A model on a target.

    Attributes:
        name: a model of the `onnx` wheel, or one of `tests.support.models`.
        target: name of a target.
        fast_bytes: capacity of its fastest tier, None for the target's own.
        dtype: data type of floating-point tensors.
        steady_state: inferences follow one another for ever.
        overrides: fields of the target.
    """

    name: str
    target: str = "edge-npu"
    fast_bytes: int | None = None
    dtype: str | None = "int8"
    steady_state: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)

    def options(self, solver: str, seed: int) -> CompileOptions:
        """What to ask of `compile_model`."""
        return CompileOptions(
            target=self.target,
            solver=solver,
            seed=seed,
            fast_memory_bytes=self.fast_bytes,
            dtype=self.dtype,
            steady_state=self.steady_state,
            overrides=self.overrides,
            parameters=SOLVERS[solver],
        )

    def source(self) -> str:
        """Path or name of the model."""
        return str(model_file(self.name)) if self.name in MODELS else self.name


KIB = 1 << 10
WHOLE = {"split_operands": "false"}

MODELS_ON_TARGETS: tuple[GoldenModel, ...] = (
    GoldenModel("squeezenet", fast_bytes=256 * KIB),
    GoldenModel("shufflenet", fast_bytes=256 * KIB, steady_state=True),
    GoldenModel("resnet50"),
    GoldenModel("inception_v1", fast_bytes=512 * KIB, overrides=WHOLE),
    GoldenModel("inception_v2", "ethos-u65-512"),
    GoldenModel("densenet121", fast_bytes=512 * KIB),
    GoldenModel("bvlc_alexnet", "phone-npu-flash"),
    GoldenModel("zfnet512", "a100-host", 4096 * KIB, dtype="float16"),
    GoldenModel("vgg19", "tpu-v4i", 16384 * KIB, dtype="bfloat16"),
    GoldenModel("residual", "cosma", 4 * KIB, dtype=None),
    GoldenModel("views", "stm32h743", 4 * KIB, dtype=None),
    GoldenModel("branch", "edge-npu", 4 * KIB, dtype=None, overrides=WHOLE),
)
