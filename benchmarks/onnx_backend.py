"""The backend suite of the onnx wheel: imported, sized, compiled, executed; a table of outcomes.

Run: python benchmarks/onnx_backend.py     # about 40 CPU seconds; exit code 1 when a case is wrong
"""

import logging
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import write_table

from tests.support.onnx_suite import all_cases, execute_case, import_case

# Outcome of a case -> what the table calls it.
CORRECT = "correct"
LONGEST_REASON = 110


def main() -> int:
    logging.disable(logging.WARNING)
    outcomes: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    sized = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in all_cases():
            read = import_case(case, intermediates=True)
            sized += read.sized
            stage, reason = "", ""
            if read.crash:
                stage, reason = "import crashed", read.crash
            elif read.refusal:
                stage, reason = "import refused", read.refusal
            elif read.wrong_sizes:
                stage, reason = "wrong size", read.wrong_sizes[0]
            else:
                ran = execute_case(case, Path(folder))
                if ran.wrong:
                    stage, reason = "execution wrong", ran.wrong
                elif ran.refusal:
                    whose = "onnxruntime runs it" if ran.ordinary else "as by onnxruntime"
                    stage, reason = f"execution refused, {whose}", ran.refusal
            outcomes[stage or CORRECT] += 1
            if stage:
                key = (stage, general(reason))
                reasons[key] += 1
                examples.setdefault(key, case.name)
    rows = [[stage, count] for stage, count in outcomes.most_common()]
    rows.append(["tensors whose size was compared", sized])
    print(
        write_table("onnx_backend", "Backend suite of the onnx wheel", ("outcome", "cases"), rows)
    )
    listed = [[*key, count, examples[key]] for key, count in reasons.most_common()]
    columns = ("outcome", "reason", "cases", "for example")
    print(write_table("onnx_backend_refused", "What is refused, and why", columns, listed))
    return int(any(outcomes[k] for k in ("import crashed", "wrong size", "execution wrong")))


def general(reason: str) -> str:
    """A message without names and numbers, so that those of one kind are the same."""
    line = reason.splitlines()[0]
    line = re.sub(r"^test_\w+: ", "", re.sub(r"[^ ]*\.onnx: ", "", line))
    line = re.sub(r"['\"][^'\"]*['\"]", "...", line)
    return re.sub(r"[|`]", " ", re.sub(r"\d+", "n", line))[:LONGEST_REASON]


if __name__ == "__main__":
    sys.exit(main())
