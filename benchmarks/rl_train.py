"""Checkpoints like the one that ships, from scratch; and how much a network's seed matters.

Trains a network for each seed on the same synthetic programs, then measures one decode by each on
programs that no training saw, beside the network that ships and random weights, relative to the
heuristic's order (a network of zeros). `ullage train --seed 0 --steps 300` makes the same file as
seed 0 here. The one that ships is older: docs/rl.md says what it is.

Run: python benchmarks/rl_train.py [--seeds 0,1,2] [--generations N] [--out DIR] [--measure-only]
"""

import argparse
from pathlib import Path

import numpy as np
from common import write_table

from ullage.rl_agent.policy.network import Network, load_network, random_network
from ullage.rl_agent.training.instances import TrainingInstance, load_instance, synthetic_programs
from ullage.rl_agent.training.session import DEFAULT_STEPS, Session, run_session
from ullage.rl_agent.training.synthetic import HELD_OUT, TRAINED

FRESH = {"trained families": (998, TRAINED), "held-out families": (999, HELD_OUT)}
PROGRAMS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--generations", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--measure-only", action="store_true", help="checkpoints are in --out")
    given = parser.parse_args()
    seeds = [int(text) for text in given.seeds.split(",")]
    if not given.measure_only:
        make(seeds, given.generations, given.out)
    rows = []
    for kind, (seed, families) in FRESH.items():
        fresh = [e for p in synthetic_programs(seed, families, PROGRAMS) if (e := load_instance(p))]
        rows.append([kind, "network that ships", *measure(load_network(), fresh)])
        for number in seeds:
            network = load_network(given.out / f"seed{number}.safetensors")
            rows.append([kind, f"network, seed {number}", *measure(network, fresh)])
        for number in seeds:
            like = load_network(given.out / f"seed{number}.safetensors")
            drawn = random_network(number, like)
            rows.append([kind, f"random weights {number}", *measure(drawn, fresh)])
    columns = ["fresh programs", "one decode by", "programs", "mean of time / heuristic order's"]
    columns += ["standard error", "better", "equal", "worse"]
    title = "One decode: trained networks and random weights (a network of zeros has 1)"
    print(write_table("rl_seeds", title, columns, rows))


def make(seeds: list[int], generations: int, out: Path) -> None:
    """Train a network for each seed, as `ullage train` does."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        asked = Session(
            models=(),
            target="edge-npu",  # of models; there are none
            dtype=None,
            out=out / f"seed{seed}.safetensors",
            steps=generations,
            seed=seed,
        )
        run_session(asked, lambda text: print(text, flush=True))


def measure(network: Network, fresh: list[TrainingInstance]) -> list[str]:
    """Time of one decode relative to the heuristic's order."""
    ratios = np.array([e.seconds(network.policy(e.encoding)) / e.reference_s for e in fresh])
    error = ratios.std(ddof=1) / np.sqrt(len(ratios))
    better, worse = int((ratios < 1 - 1e-9).sum()), int((ratios > 1 + 1e-9).sum())
    counts = (better, len(ratios) - better - worse, worse)
    return [str(len(ratios)), f"{ratios.mean():.4f}", f"{error:.4f}", *map(str, counts)]


if __name__ == "__main__":
    main()
