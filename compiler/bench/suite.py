"""Suites: which models are compiled for which targets, by which solvers, under which limits.

A suite is a TOML file of grids; a grid is the product of its lists, and each combination is a row.
docs/bench.md has the fields.
"""

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from ullage.compiler.common.dtypes import parse_dtype
from ullage.compiler.common.errors import UsageError, located
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import brief
from ullage.compiler.common.ranges import MAX_SEED
from ullage.compiler.common.units import format_size, parse_size, parse_time
from ullage.compiler.driver.options import OBJECTIVES
from ullage.compiler.exchange.problem_file import is_problem_file
from ullage.compiler.importer.model_zoo import backend_models, find_model, named_models
from ullage.hwmodels.catalog.registry import find_target, load_target
from ullage.solvers.registry import solver_names
from ullage.solvers.scheduling.orders import ORDERS

# The suite that runs where none is named.
DEFAULT_SUITE = "smoke"
# Stands for all models: those that have a name, or the files of `--models DIR`.
ALL_MODELS = "*"
# Stands for the model files of ONNX's backend suite that come with the `onnx` package.
BACKEND_MODELS = "onnx-backend"
# Largest number of rows of a suite.
MAX_ROWS = 100_000
# Memory of a row's process where the suite says nothing.
MEMORY_BYTES = 8 * 2**30
# No Python with our libraries begins in less.
LEAST_MEMORY_BYTES = 64 * 2**20
# Seconds for a row without a time limit of its own, after which its process is ended.
ROW_S = 600.0

# Fields whose texts may be plain numbers: sizes in bytes, times in seconds.
QUANTITIES = ("memory", "time_limit", "fast_memory", "time_limits")


class NeedsModelsError(UsageError):
    """A suite is of models that do not come with the package; the details have its title."""


@dataclass(frozen=True)
class Row:
    """One compilation.

    Attributes:
        model: name or file of a model or a problem.
        target: name or file; empty: the default, or that of a problem file.
        fast_memory: size of the fastest tier, as a text with a unit; empty: the target's.
        solver: name of the solver.
        objective: what is minimised; empty: the latency, or what a problem file says.
        order: order of the operators.
        schedule: `whole`, `cascade`, or empty for what `compile` does by default.
        dtype: floating-point tensors are planned as this type; empty: their own.
        steady_state: inferences follow one another.
        states: `IN=OUT` of a tensor that lives from one inference to the next, or `auto`; empty:
            none.
        recompute: `auto` where operators may run again, or `off`.
        seed: of everything random.
        time_limit_s: wall-clock limit in seconds; None for none.
        overrides: `--set`, as sorted pairs.
        parameters: `--param`, as sorted pairs.
        dims: values of symbolic dimensions, as sorted pairs.
    """

    model: str
    target: str = ""
    fast_memory: str = ""
    solver: str = "auto"
    objective: str = ""
    order: str = "model"
    schedule: str = ""
    dtype: str = ""
    steady_state: bool = False
    states: str = ""
    recompute: str = "off"
    seed: int = 0
    time_limit_s: float | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    dims: tuple[tuple[str, int], ...] = ()

    @property
    def text(self) -> str:
        """What tells it from others, for people."""
        steady = "steady" if self.steady_state else ""
        again = "recompute" if self.recompute != "off" else ""
        model = self.model.removesuffix("/model.onnx")  # a case of the backend suite
        parts = (model, self.target, self.fast_memory, self.solver, self.schedule, steady, again)
        return ", ".join(part.removesuffix(".onnx").rpartition("/")[2] for part in parts if part)


@dataclass(frozen=True)
class Suite:
    """Rows, and what their processes may use.

    Attributes:
        name: name of the suite.
        title: what it shows, in a sentence.
        rows: in the order of the file.
        memory_bytes: address space of a row's process.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True)
class _Grid:
    """The lists of a grid, as in the file; a single value stands for a list of one."""

    models: list[str]
    targets: list[str] = field(default_factory=lambda: [""])
    fast_memory: list[str] = field(default_factory=lambda: [""])
    solvers: list[str] = field(default_factory=lambda: ["auto"])
    objectives: list[str] = field(default_factory=lambda: [""])
    orders: list[str] = field(default_factory=lambda: ["model"])
    schedules: list[str] = field(default_factory=lambda: [""])
    dtypes: list[str] = field(default_factory=lambda: [""])
    steady_state: list[bool] = field(default_factory=lambda: [False])
    states: list[str] = field(default_factory=lambda: [""])
    recompute: list[str] = field(default_factory=lambda: ["off"])
    seeds: list[int] = field(default_factory=lambda: [0])
    time_limits: list[str] = field(default_factory=lambda: [""])


# What a row has of each list of a grid, apart from models.
_COLUMNS = {
    "target": "targets",
    "fast_memory": "fast_memory",
    "solver": "solvers",
    "objective": "objectives",
    "order": "orders",
    "schedule": "schedules",
    "dtype": "dtypes",
    "steady_state": "steady_state",
    "states": "states",
    "recompute": "recompute",
    "seed": "seeds",
    "time_limit": "time_limits",
}
# Fields of a grid that are tables, not lists.
_TABLES = {"set": str, "param": str, "dim": int}


def list_suites() -> tuple[str, ...]:
    """Names of the suites that are shipped."""
    folder = files("ullage.compiler.bench").joinpath("suites")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_suite(name: str, models: Path | None = None) -> Suite:
    """A suite.

    Args:
        name: of a shipped suite, or a TOML file.
        models: folder whose `.onnx` files "*" stands for; None: the models that have a name.

    Raises:
        UsageError: there is none of that name, or a field of it is wrong; says which.
        NeedsModelsError: it is of models that are not there without `models`.
        ModelError: a model of it is neither a file nor a known name.
    """
    if name in list_suites():
        text = files("ullage.compiler.bench").joinpath("suites", f"{name}.toml").read_bytes()
        return _suite_of(text, name, name, models, Path())
    path = Path(name)
    if path.suffix != ".toml":
        raise UsageError(
            f"there is no suite {name!r}; there are: {', '.join(list_suites())}, or name a .toml "
            "file"
        )
    return _suite_of(read_file(path, MAX_READ_BYTES), name, path.stem, models, path.parent)


def _suite_of(data: bytes, where: str, name: str, models: Path | None, beside: Path) -> Suite:
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"{where}: not a suite: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{where}: not a suite: it is nested too deep") from error
    document |= {key: _text_of(document[key]) for key in QUANTITIES if key in document}
    known = {"title": str, "memory": str, "time_limit": str, "needs": str, "grids": list}
    for key, value in document.items():
        if key not in known:
            raise UsageError(f"{where}: unknown field {key!r}; there are: {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise UsageError(f"{where}: {key} is {brief(value)}, not a {known[key].__name__}")
    grids = document.get("grids", [])
    if not grids:
        raise UsageError(f"{where}: a suite has [[grids]], and this one has none")
    if "needs" in document and models is None:
        raise NeedsModelsError(
            f"the suite {name} needs {document['needs']}: name their folder (--models DIR)",
            {"title": document.get("title", "")},
        )
    limit = document.get("time_limit", "")
    rows: list[Row] = []
    for number, grid in enumerate(grids):
        rows += _rows_of(grid, f"{where}: grid {number}", limit, models, beside)
        if len(rows) > MAX_ROWS:
            raise UsageError(f"{where}: more than {MAX_ROWS} rows; make several suites of it")
    memory = MEMORY_BYTES
    if "memory" in document:
        with located(f"{where}: memory"):
            memory = parse_size(document["memory"])
        if memory < LEAST_MEMORY_BYTES:
            raise UsageError(
                f"{where}: memory is {brief(document['memory'])}; a process needs at least "
                f"{format_size(LEAST_MEMORY_BYTES)}, and most models more"
            )
    return Suite(name, document.get("title", ""), tuple(dict.fromkeys(rows)), memory)


def _rows_of(
    grid: object, where: str, limit: str, models: Path | None, beside: Path
) -> Iterator[Row]:
    lists, tables = _checked(grid, where, limit)
    found = [name for given in lists.models for name in _models(given, where, models, beside)]
    overrides, parameters, dims = (tuple(sorted(tables[name].items())) for name in _TABLES)
    _check_problems(found, where, dims=bool(dims), dtypes=any(lists.dtypes))
    _check_values(lists, where)
    others = [getattr(lists, f) for f in _COLUMNS.values()]
    for model, *rest in product(found, *others):
        asked = dict(zip(_COLUMNS, rest, strict=True))
        seconds = asked.pop("time_limit")
        yield Row(
            model=model,
            **asked,
            time_limit_s=parse_time(seconds, f"{where}: time_limits") if seconds else None,
            overrides=overrides,
            parameters=parameters,
            dims=dims,
        )


def _check_values(lists: _Grid, where: str) -> None:
    """Refuse what no row could be run with.

    Raises:
        UsageError: a target, solver, objective, order, type, size, state or seed is none; says
            which.
    """
    known = {"objectives": OBJECTIVES, "orders": ORDERS, "recompute": ("off", "auto")}
    for name, values in known.items():
        for value in filter(None, getattr(lists, name)):
            if value not in values:
                raise UsageError(
                    f"{where}: {name}: there is no {value!r}; there are: {', '.join(values)}"
                )
    readers: dict[str, Callable[[str], object]] = {
        "targets": find_target,
        "dtypes": parse_dtype,
        "fast_memory": parse_size,
        "states": _check_state,
    }
    for name, read in readers.items():
        for value in filter(None, getattr(lists, name)):
            with located(f"{where}: {name}"):
                read(value)
    for solver in lists.solvers:
        if solver not in solver_names():
            raise UsageError(
                f"{where}: solvers: there is no {solver!r}; there are: {', '.join(solver_names())}"
            )
    for seed in lists.seeds:
        if not 0 <= seed <= MAX_SEED:
            raise UsageError(f"{where}: seeds: {seed} is not from 0 to {MAX_SEED}")


def _check_state(text: str) -> None:
    """Refuse what `--state` does not take.

    Raises:
        UsageError: says what it takes.
    """
    if text != "auto" and "=" not in text:
        raise UsageError(f'{text!r} is neither "IN=OUT" nor "auto"')


def _check_problems(models: list[str], where: str, *, dims: bool, dtypes: bool) -> None:
    """Refuse a grid that says how to read a model, where one of its models is a problem file.

    Raises:
        UsageError: it does; names the file.
    """
    said = [name for name, is_said in (("dim", dims), ("dtypes", dtypes)) if is_said]
    for model in models if said else []:
        if is_problem_file(Path(model)):
            raise UsageError(
                f"{where}: {model} is a problem file, which is not read as {' and '.join(said)} "
                "say: give it a grid without"
            )


def _checked(grid: object, where: str, limit: str) -> tuple[_Grid, dict[str, dict[str, Any]]]:
    """The lists and tables of a grid; a single value is a list of one.

    Raises:
        UsageError: a field is unknown, or of another type.
    """
    if not isinstance(grid, dict):
        raise UsageError(f"{where} is {brief(grid)}; a grid is a table: [[grids]]")
    known = {f.name: f for f in fields(_Grid)}
    lists: dict[str, list[Any]] = {"time_limits": [limit]}
    tables: dict[str, dict[str, Any]] = {name: {} for name in _TABLES}
    for key, value in grid.items():
        if key in _TABLES:
            kind = _TABLES[key]
            if not isinstance(value, dict):
                raise UsageError(f"{where}: {key} is a table of {kind.__name__}, by name")
            table = {n: _text_of(v) if kind is str else v for n, v in value.items()}
            if not all(type(v) is kind for v in table.values()):
                raise UsageError(f"{where}: {key} is a table of {kind.__name__}, by name")
            tables[key] = table
            continue
        if key not in known:
            names = ", ".join([*known, *_TABLES])
            raise UsageError(f"{where}: unknown field {key!r}; there are: {names}")
        wanted = {"steady_state": bool, "seeds": int}.get(key, str)
        entries = value if isinstance(value, list) else [value]
        if key in QUANTITIES:
            entries = [_text_of(entry) for entry in entries]
        if not entries:
            raise UsageError(f"{where}: {key} is an empty list, so that the grid has no rows")
        for entry in entries:
            if type(entry) is not wanted:
                raise UsageError(
                    f"{where}: {key} has {brief(entry)} in it; its entries are of type "
                    f"{wanted.__name__}"
                )
        lists[key] = entries
    if "models" not in lists:
        raise UsageError(f'{where}: it names no models (models = ["*"] for all)')
    return _Grid(**lists), tables


def _text_of(value: object) -> object:
    """A number, or yes or no, as the text that the command line takes; anything else as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _models(given: str, where: str, models: Path | None, beside: Path) -> list[str]:
    """The models that an entry stands for.

    Raises:
        UsageError: it stands for none.
        ModelError: it is neither a file nor a known name.
    """
    if given == ALL_MODELS:
        if models is None:
            return list(named_models())
        found = sorted(str(path) for path in models.glob("*.onnx"))
        if not found:
            raise UsageError(f"{models}: no .onnx file; --models names a folder of models")
        return found
    if given == BACKEND_MODELS:
        return [str(path) for path in backend_models()]
    if not given:
        raise UsageError(f"{where}: models has an empty text in it; name a model or a file")
    if any(character in given for character in "*?["):
        found = sorted(str(path) for path in (models or beside).glob(given) if path.is_file())
        if not found:
            raise UsageError(f"{where}: no file matches {given!r} in {models or beside}")
        return found
    for folder in (models, beside):
        if folder is not None and (folder / given).is_file():
            return [str(folder / given)]
    find_model(given)
    return [given]


def settings_of(row: Row) -> dict[str, Any]:
    """What a row asks for, as JSON."""
    return asdict(row)


def row_of(settings: Mapping[str, Any]) -> Row:
    """The row of which `settings_of` gave this document."""
    tables = {
        name: tuple((key, value) for key, value in settings[name])
        for name in ("overrides", "parameters", "dims")
    }
    return Row(**{**settings, **tables})


def key_of(row: Row, version: str) -> str:
    """A digest by which a finished row is known again.

    It changes with what the row asks for, with the bytes of its model, with the figures of its
    target, and with the version of the program: a row that it finds again would be computed alike.

    Args:
        row: the row.
        version: of the program.
    """
    digest = hashlib.sha256(json.dumps([version, settings_of(row)], sort_keys=True).encode())
    digest.update(hashlib.sha256(find_model(row.model).read_bytes()).digest())
    if row.target:
        digest.update(repr(load_target(row.target, dict(row.overrides))).encode())
    return digest.hexdigest()[:16]
