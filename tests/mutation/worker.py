"""Runs the tests of one module on its mutants, each in a process of its own.

A worker imports once what does not depend on the module, then forks for each mutant. The child
finds the mutant's text in memory in place of the module's file, so no file is ever changed:

    worker: numpy, pytest, hypothesis, ullage.compiler.ir ...      imported once
      |- fork: ullage.hwmodels.cost, mutant 1, and what imports it -> pytest -> exit status
      |- fork: ullage.hwmodels.cost, mutant 2, ...
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from cosmic_ray.work_item import TestOutcome

# Exit status of a child whose mutant cannot be imported.
STILLBORN = 77
# A mutant may take this many times the CPU time of the tests, and some seconds more.
PATIENCE, MORE_CPU_S = 3, 5
# It may wait this many times longer than it may compute: the machine may have other work.
WALL_PER_CPU = 20
# Address space beyond what the worker has: stops mutants that append for ever.
MORE_MEMORY_BYTES = 4 << 30

OPTIONS = (
    *("-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"),
    # The worker has imported the plugins before pytest could rewrite their assertions.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


@dataclass
class _Job:
    """What a worker tests.

    Attributes:
        module: dotted name of the module.
        source: its text, unchanged.
        tests: files of tests.
        cpu_s: CPU time that the tests take on the unchanged module.
    """

    module: str
    source: str
    tests: tuple[str, ...]
    cpu_s: float = 600.0


_job: _Job | None = None


class _Mutant(MetaPathFinder, InspectLoader):
    """Finds a module's text in memory; notes what was imported before the module."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source
        self.before: list[str] = []

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self.name:
            return None
        self.before = [name for name, module in sys.modules.items() if _is_complete(module)]
        return spec_from_loader(fullname, self)

    def get_source(self, fullname: str) -> str:
        del fullname
        return self.source


class _QuickFirst:
    """A plugin of pytest: tests of one example before those of hundreds."""

    @staticmethod
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.get_closest_marker("hypothesis") is not None)


def _is_complete(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def prepare(tree: str, module: str, tests: tuple[str, ...]) -> None:
    """Set up this process for one module: import all that does not depend on it.

    Args:
        tree: folder with a copy of the project; `ullage` is laid out in its `build/types`.
        module: path of the module in the project.
        tests: files of tests, paths in the project.

    Raises:
        RuntimeError: the tests fail on the unchanged module.
    """
    global _job  # noqa: PLW0603 - a worker has one job for life
    from hypothesis import Phase, settings

    os.chdir(tree)
    home = Path(__file__).parents[2]
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != home]
    sys.path[:] = [str(Path(tree, "build", "types")), tree, *elsewhere]
    # The same examples for every mutant, and no time spent on making a failure small.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutation", database=None, derandomize=True, phases=phases)
    settings.load_profile("mutation")
    source = Path(tree, module).read_text(encoding="utf-8")
    dotted = ".".join(("ullage", *Path(module).with_suffix("").parts))
    _job = _Job(dotted, source, tests)
    reader, writer = os.pipe()
    log = Path(tree, f"worker-{os.getpid()}.log")
    child = os.fork()
    if not child:
        os.close(reader)
        _child(_job, source, writer, str(log))
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        report = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        text = log.read_text(encoding="utf-8")
        raise RuntimeError(f"the tests of {module} fail as they are: {' '.join(tests)}\n{text}")
    _job.cpu_s = usage.ru_utime + usage.ru_stime
    for name in json.loads(report):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all children have in common is no garbage


def outcome_of(source: str) -> TestOutcome:
    """Whether the tests notice that the module has this text."""
    assert _job is not None
    child = os.fork()
    if not child:
        _child(_job, source, None)
    descriptor = os.pidfd_open(child)
    ended, _, _ = select.select([descriptor], [], [], WALL_PER_CPU * _cpu_limit(_job))
    os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == STILLBORN:
        return TestOutcome.INCOMPETENT
    return TestOutcome.KILLED if code else TestOutcome.SURVIVED


def _cpu_limit(job: _Job) -> int:
    return int(PATIENCE * job.cpu_s) + MORE_CPU_S


def _child(job: _Job, source: str, report: int | None, log: str = os.devnull) -> None:
    """Run the tests on a text of the module; never returns.

    Args:
        job: module and tests.
        source: the text.
        log: file for what pytest prints.
        report: where to write the names of modules that do not depend on the module, if anywhere.
    """
    status = STILLBORN
    try:
        silence = os.open(log, os.O_RDWR | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(silence, stream)
        limit = _cpu_limit(job)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        memory = pages * resource.getpagesize() + MORE_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        mutant = _Mutant(job.module, source)
        sys.meta_path.insert(0, mutant)
        if report is None:
            importlib.import_module(job.module)
        status = int(pytest.main([*OPTIONS, *job.tests], plugins=[_QuickFirst()]))
        if report is not None:
            foreign = [n for n in sys.modules if n.split(".")[0] not in ("ullage", "tests")]
            names = [n for n in dict.fromkeys((*mutant.before, *foreign)) if _is_found(n)]
            with os.fdopen(report, "w", encoding="utf-8") as pipe:
                pipe.write(json.dumps(names))
    finally:
        os._exit(status)


def _is_found(name: str) -> bool:
    """Whether a module can be imported by its name elsewhere: not made on the fly, not a test."""
    if name.startswith(("__main__", "__mp_main__", "tests.")):
        return False
    module = sys.modules[name]
    return bool(getattr(module, "__file__", None)) and _is_complete(module)
