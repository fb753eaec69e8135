"""Random models in random tiles: planned, verified, executed, compared with the whole model.

Run: python benchmarks/fuzz_tiles.py [--seconds S] [--start SEED]      # exit code 1 when wrong
"""

import argparse
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import write_table

from tests.support.random_tiles import fault_of
from ullage.compiler.common.errors import ModelError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--start", type=int, default=1000)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    end, seed = time.monotonic() + given.seconds, given.start
    with TemporaryDirectory() as folder:
        while time.monotonic() < end:
            try:
                fault = fault_of(seed, Path(folder))
            except ModelError as error:
                counts["that onnxruntime or the importer refuses"] += 1
                print(f"seed {seed}: {error.message[:200]}", flush=True)
            else:
                counts["whose last operator cannot be cut"] += fault is None
                counts["that are the whole model"] += fault == ""
                if fault:
                    faults.append(fault)
                    print(f"WRONG {fault}", flush=True)
            seed += 1
    rows = [["random models in random tiles", seed - given.start], *map(list, counts.items())]
    rows.append(["that are wrong", len(faults)])
    print(write_table("fuzz_tiles", "Random models in random tiles", ("what", "count"), rows))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
