"""Figures of a training run, generation by generation, to TensorBoard where a folder is named."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ullage.compiler.common.errors import UsageError

Write = Callable[[int, Mapping[str, float]], None]  # step, figures by name


@contextmanager
def open_tensorboard(folder: Path | None) -> Iterator[Write]:
    """What writes figures into a folder for TensorBoard; without a folder it does nothing.

    Raises:
        UsageError: the writer is not installed, or the folder cannot be made.
    """
    if folder is None:
        yield lambda _step, _figures: None
        return
    if find_spec("tensorboardX") is None:
        raise UsageError(
            "--tensorboard needs tensorboardX, which is not installed; install it with "
            "`pip install 'ullage[tensorboard]'`, or read the JSONL log beside the checkpoint"
        )
    from tensorboardX import SummaryWriter

    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise UsageError(f"--tensorboard {folder}: cannot be written: {error}") from error

    def write(step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        writer.close()
