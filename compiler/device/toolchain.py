"""Building firmware with arm-none-eabi-gcc, and running it in QEMU within a time limit."""

import shutil
import subprocess
from pathlib import Path

from ullage.compiler.common.errors import TimeLimitError, UsageError, VerificationError

# Programs that are needed -> the package of Debian and Ubuntu that has them.
TOOLS = {
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
# Seconds that a build may take.
BUILD_LIMIT_S = 300.0
# Lines of a program's message that an error shows.
_SHOWN_LINES = 12


def missing_tools() -> str | None:
    """What is missing to build and run firmware, and how to get it; None where all is there."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(dict.fromkeys(TOOLS[tool] for tool in missing))
        return f"{', '.join(missing)} missing; install: apt-get install {packages}"
    try:
        found = _run(
            ["arm-none-eabi-gcc", "-print-file-name=libm.a"], Path(), BUILD_LIMIT_S
        ).stdout.strip()
    except subprocess.TimeoutExpired:
        return "arm-none-eabi-gcc does not answer"
    if not Path(found).is_absolute():
        return "newlib missing; install: apt-get install libnewlib-arm-none-eabi"
    return None


def build(folder: Path, defines: str) -> Path:
    """Build the deployment in a folder; returns the path of `firmware.elf`.

    Args:
        folder: of the deployment.
        defines: options for the compiler, `-DNAME` ...

    Raises:
        UsageError: a tool is missing; says which package has it.
        VerificationError: it does not build, for example since an arena does not fit its region.
    """
    problem = missing_tools()
    if problem:
        raise UsageError(f"a deployment cannot be built: {problem}")
    try:
        done = _run(["make", f"DEFINES={defines}", "firmware.elf"], folder, BUILD_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise TimeLimitError(f"the build takes more than {BUILD_LIMIT_S:g} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise VerificationError(
            "the deployment does not build:\n" + "\n".join(said[-_SHOWN_LINES:]),
            {"stage": "build"},
        )
    return folder / "firmware.elf"


def emulate(firmware: Path, limit_s: float) -> str:
    """Run firmware in QEMU's model of the board; returns what it printed.

    Args:
        firmware: the ELF file; files that it writes land in its folder.
        limit_s: wall-clock limit in seconds.

    Raises:
        TimeLimitError: it takes longer.
        VerificationError: a fault, or no proper end; has what the firmware said.
    """
    try:
        done = _run(["make", "run"], firmware.parent, limit_s)
    except subprocess.TimeoutExpired:
        raise TimeLimitError(
            f"QEMU runs for more than {limit_s:g} s; give it more (--time-limit)"
        ) from None
    printed = done.stdout + done.stderr  # QEMU sends semihosting's text to either
    if done.returncode or "\ndone\n" not in printed:
        said = [line for line in printed.splitlines() if not line.startswith(("make", "qemu"))]
        faults = [line for line in said if line.startswith("fault")]
        raise VerificationError(
            "the firmware did not end as it should: "
            + "; ".join(faults or said[-_SHOWN_LINES:] or ["it said nothing"]),
            {"stage": "emulation", "said": said[-_SHOWN_LINES:]},
        )
    return printed


def _run(command: list[str], folder: Path, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program, and end it and what it started after the limit."""
    with subprocess.Popen(  # noqa: S603 - programs of ours, without a shell
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except BaseException:
            _end_group(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a program and its children: `make` would leave QEMU running."""
    import os
    import signal

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
