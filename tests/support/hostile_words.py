"""Hostile target files and values of options, seeded: from typing errors to attacks."""

import re
from pathlib import Path
from random import Random

import ullage.hwmodels.targets as shipped

# What may stand where a value stood, as YAML and as the value of an option.
VALUES = (
    "0",
    "-1",
    "-0",
    "nan",
    ".nan",
    "inf",
    "-.inf",
    "1e300",
    "1e400",
    "1e-19",
    "0.5",
    "2147483648",
    "4611686018427387904",
    "9223372036854775808",
    "1" * 5000,
    "0x10",
    "0o17",
    "010",
    "1_000",
    "1:30",
    "2024-01-01",
    "\u0663",
    "true",
    "yes",
    "null",
    "~",
    "",
    " ",
    "[]",
    "{}",
    "[1]",
    "1MiB",
    "1.5MiB",
    "-1KiB",
    "5EiB",
    "5 parsec",
    "101%",
    "a=b",
    "=",
    ",",
    "..",
    "../x",
    "--help",
    "\u202e",
    "\x1b[31m",
    "\udcff",
    "a\nb",
    "x" * 300,
    "&a 1",
    "*a",
    "!!python/object:os.system x",
)
# Characters that mean something to YAML or to a terminal.
MARKS = "\0\x1b\u202e{}[:#\"'\r\u2028\x85&*!%@`|>\t"
ENCODINGS = (*("utf-8",) * 12, "utf-16", "utf-8-sig", "utf-32", "latin-1")
# Option -> the command that takes it, and what else is said to it.
OPTIONS = {
    "compile": "--target --solver --objective --fast-memory --order --batch --dim --set --param "
    "--dtype --then --within --time-limit --seed -o --emit",
    "analyze": "--target --batch --dim --set --dtype --emit -o",
    "compare": "--solvers --param --time-limit --seed",
    "sweep": "--fast-memory --points --meet-latency --tier --batch --time-limit",
    "pack": "--capacity --alignment --time-limit -o",
    "verify": "--model",
    "report": "-o --model --with",
    "run": "--seed --inferences --until --trace",
    "diff": "--fail-if-slower",
}
# Fields for --set.
FIELDS = (
    "slice_granularity",
    "tiers.sram.capacity_bytes",
    "tiers.sram.read_bytes_per_s",
    "tiers.sram.alignment_bytes",
    "links.dram->sram.setup_s",
    "compute.overhead_s",
    "compute.macs_per_s.int8",
    "compute.systolic.rows",
    "split_operands",
    "operand_access",
    "homes.weight",
    "policy.reserved_bytes.sram",
    "tiers.0.capacity_bytes",
    "__class__",
    "",
)


def hostile_target(random: Random) -> tuple[str, bytes]:
    """A shipped target file with up to three lines changed: (what was done, the file)."""
    folder = Path(str(shipped.__path__[0]))
    path = random.choice(sorted(folder.glob("*.yaml")))
    lines = path.read_text(encoding="utf-8").split("\n")
    done = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        fields = [i for i, line in enumerate(lines) if ":" in line]
        at = random.choice(fields)
        line, key = lines[at], lines[at].partition(":")[0]
        what = random.choice(("value", "value", "value", "drop", "double", "rename", "mark", "tab"))
        done.append(what)
        if what == "value" and "value:" in line:
            lines[at] = re.sub(r"value:[^,}]*", lambda _: f"value: {random.choice(VALUES)}", line)
        elif what == "value":
            lines[at] = f"{key}: {random.choice(VALUES)}"
        elif what == "drop":
            del lines[at]
        elif what == "double":
            lines.insert(at, line)
        elif what == "rename":
            lines[at] = line.replace(":", "x:", 1)
        elif what == "tab":
            lines[at] = "\t" + line
        else:
            place = random.randrange(len(line))
            lines[at] = line[:place] + random.choice(MARKS) + line[place + 1 :]
    encoding = random.choice(ENCODINGS)
    return f"{path.stem}: {', '.join(done)}", "\n".join(lines).encode(encoding, "replace")


def hostile_option(random: Random) -> tuple[str, str, str]:
    """(command, option, value)."""
    command = random.choice(sorted(OPTIONS))
    option, value = random.choice(OPTIONS[command].split()), random.choice(VALUES)
    if option == "--dim":
        value = f"n={value}"
    elif option == "--set":
        value = f"{random.choice(FIELDS)}={value}"
    elif option == "--param":
        value = f"{random.choice(('prefetch_window_steps', 'seed', ''))}={value}"
    elif command == "sweep" and option == "--fast-memory":
        value = random.choice((value, f"{value}..8KiB", f"1KiB..{value}"))
    return command, option, value
