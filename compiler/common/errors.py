"""The error hierarchy: every error says what was needed, what there was, and what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """What is wrong with a part of a file, a plan or a problem, and the remedy.

    Attributes:
        field: where it is, as the file spells it: `program.steps.3.uses.0`.
        message: what is wrong.
    """

    field: str
    message: str


class UllageError(Exception):
    """Root of all errors that ullage raises on purpose.

    Attributes:
        exit_code: exit code of the command line for this kind of error.
        kind: stable, machine-readable name of the error.
        details: figures and names behind the message, JSON-serialisable.
    """

    exit_code = 2
    kind = "usage"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})

    def to_json(self) -> dict[str, Any]:
        """The error as programs read it."""
        return {"kind": self.kind, "message": self.message, "details": self.details}

    @classmethod
    def revive(cls, document: Mapping[str, Any]) -> "UllageError":
        """The error whose `to_json` gave this document."""
        kinds = {known.kind: known for known in (cls, *cls.__subclasses__())}
        return kinds.get(document["kind"], cls)(document["message"], document["details"])


class UsageError(UllageError):
    """An option, a target file or an argument is wrong."""


class NoMemoryError(UllageError):
    """A process had less memory than its work needs."""

    exit_code = 70
    kind = "memory"


class CrashError(UllageError):
    """A process ended without a word about its work."""

    exit_code = 70
    kind = "crash"


class MalformedPlanError(UsageError):
    """A plan file has an unknown, missing or wrong field."""


class ModelError(UllageError):
    """The model cannot be read or planned; the message says where and why."""

    exit_code = 3
    kind = "model"


class NeverRunsError(ModelError):
    """An operator contradicts its operands, whatever the data: what contains it cannot run."""


class InfeasibleError(UllageError):
    """No legal plan exists on this target; details give needed, available and excess bytes."""

    exit_code = 4
    kind = "infeasible"


class VerificationError(UllageError):
    """A plan is illegal, or an execution of it differs from the model."""

    exit_code = 5
    kind = "verification"


class TimeLimitError(UllageError):
    """The time limit was reached before any plan was found."""

    exit_code = 6
    kind = "time_limit"


class OwnPlanError(UllageError):
    """A solver was asked for a plan of its own, and has only the one that it began with."""

    exit_code = 6
    kind = "no_own_plan"


class ContractError(UllageError):
    """A solver broke its contract: the message names it and says what it did or returned."""

    exit_code = 7
    kind = "contract"


class OutputError(UllageError):
    """The work is done and its output cannot be written: a full disk."""

    exit_code = 74
    kind = "output"


@contextmanager
def located(where: object) -> Iterator[None]:
    """Usage errors inside begin with where it was: a file, a field of one."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.details) from error
