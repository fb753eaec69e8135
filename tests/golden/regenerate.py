"""Write or compare the golden plans.

python -m tests.golden.regenerate             write golden.json anew: say why in the commit message
python -m tests.golden.regenerate --compare   list the cases that differ, hashes included; for two
                                              versions on one machine
"""

import argparse
import json
from pathlib import Path

from tests.golden.canonical import answer_of, key_of
from tests.golden.cases import MODELS_ON_TARGETS, SEEDS, SOLVERS

GOLDEN = Path(__file__).with_name("golden.json")


def read_golden(path: Path = GOLDEN) -> dict[str, dict[str, str | float]]:
    """The answers that were stored, by case."""
    stored: dict[str, dict[str, str | float]] = json.loads(path.read_text(encoding="utf-8"))
    return stored


def _is_same(stored: dict[str, str | float], answer: dict[str, str | float]) -> bool:
    """Whether the canonical forms are equal; figures are in the hash, to nine digits."""
    return all(stored.get(name) == answer[name] for name in ("error", "digest"))


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", action="store_true", help="compare, write nothing")
    parser.add_argument("--file", type=Path, default=GOLDEN, help="where the answers are")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    asked = parser.parse_args()
    answers = {}
    for model in MODELS_ON_TARGETS:
        for solver in SOLVERS:
            for seed in SEEDS:
                key = key_of(model, solver, seed)
                if asked.only in key:
                    answers[key] = answer_of(model, solver, seed).to_json()
    if not asked.compare:
        if asked.only and asked.file.exists():  # the other cases stay as they are
            answers = {**read_golden(asked.file), **answers}
        asked.file.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
        print(f"{len(answers)} answers written")
        return 0
    stored = read_golden(asked.file)
    different = [k for k, answer in answers.items() if not _is_same(stored.get(k, {}), answer)]
    for key in different:
        print(key, stored.get(key), answers[key], sep="\n  ")
    print(f"{len(answers) - len(different)} of {len(answers)} equal")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
