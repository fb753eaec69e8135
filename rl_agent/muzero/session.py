"""A training session of `muzero`: one program, checkpoints and log of `ullage train`."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.common.units import format_time
from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.importer.model_zoo import find_model
from ullage.rl_agent.env.game_instance import by_live_bytes, game_instance_of
from ullage.rl_agent.muzero.agent import Agent, MuZeroOptions, new_agent
from ullage.rl_agent.muzero.checkpoint import load_agent, save_agent
from ullage.rl_agent.muzero.solver import packer_of, reference_of, rivals_of
from ullage.rl_agent.muzero.train import Report, train
from ullage.rl_agent.training.log import open_tensorboard
from ullage.rl_agent.training.session import old_lines
from ullage.solvers import reductions
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.orders import find_order

# Generations of a session with neither `steps` nor a time limit.
DEFAULT_STEPS = 300
# Seconds between two checkpoints.
SAVE_EVERY_S = 20.0


@dataclass(frozen=True)
class MuZeroSession:
    """What to train on, and for how long.

    Attributes:
        model: name or file.
        program: target, type and memory of the program, as `compile` takes them.
        out: checkpoint to write; the log lies beside it.
        resume: checkpoint to go on from; its options and seed count.
        steps: generations in all, those of the resumed run included.
        time_limit_s: seconds; without it and `steps`, 300 generations.
        seed: of everything random.
        tensorboard: folder for TensorBoard.
    """

    model: str
    program: FrontendOptions
    out: Path
    resume: Path | None = None
    steps: int | None = None
    time_limit_s: float | None = None
    seed: int = 0
    tensorboard: Path | None = None


@dataclass(frozen=True)
class MuZeroResult:
    """The result of a session, as in its checkpoint.

    Attributes:
        generation: generations of training so far.
        games: games played so far.
        best_s: seconds; latency of the best plan.
        seed: of everything random.
        log: a JSONL file, a line per generation.
        total_s: seconds that the session took.
        interrupted: ended by Ctrl-C.
    """

    generation: int
    games: int
    best_s: float
    seed: int
    log: Path
    total_s: float
    interrupted: bool


def run_muzero(session: MuZeroSession, progress: Callable[[str], None]) -> MuZeroResult:
    """Train, save, log. Ctrl-C ends it with the last checkpoint, some seconds old at most.

    Raises:
        InfeasibleError: no legal plan exists.
        ModelError: the model cannot be read.
        UsageError: options contradict each other, or there is nothing to decide.
    """
    begun_s = time.monotonic()
    if session.out.suffix != ".safetensors":
        raise UsageError(
            f"a checkpoint is a .safetensors file; name it so, not {session.out.name!r}"
        )
    progress("reading the program")
    agent = _agent(session)
    log = session.out.with_suffix(".jsonl")
    lines = old_lines(session.resume, agent.generation)
    spent = json.loads(lines[-1])["seconds"] if lines else 0.0
    steps = session.steps
    if steps is None and session.time_limit_s is None:
        steps = DEFAULT_STEPS
    saved = slowest = 0.0
    before = time.monotonic()
    saved_figures = (0, 0, 0.0)

    def goes_on(now: Agent) -> bool:
        late = time.monotonic() - begun_s + slowest
        in_time = session.time_limit_s is None or late < session.time_limit_s
        return in_time and (steps is None or now.generation < steps)

    def report(now: Report) -> None:
        nonlocal saved, slowest, before, saved_figures
        if now.generation > 1:  # the first compiles
            slowest = max(slowest, time.monotonic() - before)
        before = time.monotonic()
        figures = {name: value for name, value in now._asdict().items() if name != "losses"}
        figures["seconds"] = round(spent + before - begun_s, 3)
        lines.append(json.dumps({**figures, **now.losses}))
        shown = {name: float(figures[name]) for name in ("best_s", "greedy_s", "mean_s")}
        write(now.generation, {**shown, **now.losses})
        progress(
            f"generation {now.generation}: best {format_time(now.best_s)}, without noise "
            f"{format_time(now.greedy_s)}"
        )
        if before - saved >= SAVE_EVERY_S:
            saved_figures = _save(agent, session.out, log, lines)
            saved = before

    interrupted = False
    with open_tensorboard(session.tensorboard) as write:
        try:
            train(agent, goes_on, report)
        except KeyboardInterrupt:
            if not saved:
                raise
            interrupted = True
        else:
            saved_figures = _save(agent, session.out, log, lines)
    return MuZeroResult(
        *saved_figures, agent.options.seed, log, time.monotonic() - begun_s, interrupted
    )


def _agent(session: MuZeroSession) -> Agent:
    order = find_order(session.program.order, steady_state=session.program.steady_state)
    prepared = prepare(find_model(session.model), session.program, order)
    problem, target = reductions.reduce(prepared.problem), prepared.target
    instance = by_live_bytes(game_instance_of(problem))
    if not len(instance.arrays.access_segment):
        raise UsageError(
            f"nothing to decide: every tensor of {problem.name} lives in {target.fastest.name}; "
            "choose a target with a slower memory"
        )
    packer = packer_of(problem, instance, Budget())
    if session.resume is not None:
        return load_agent(session.resume, instance, packer)
    rivals = rivals_of(problem, Budget())
    reference_s = reference_of(problem, instance, rivals.values())
    return new_agent(instance, reference_s, MuZeroOptions(seed=session.seed), packer)


def _save(agent: Agent, out: Path, log: Path, lines: list[str]) -> tuple[int, int, float]:
    """Write checkpoint and log; returns generation, games and best latency."""
    save_agent(agent, out)
    write_atomic(log, "".join(line + "\n" for line in lines).encode())
    return agent.generation, agent.games, agent.best_s
