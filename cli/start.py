"""The command `ullage`: answers Ctrl-C before it imports anything that takes time."""

import time

from ullage.cli.interrupts import INTERRUPTED, leave_at_once, leave_with


def main() -> None:
    """Run the command line and exit with the documented code, whenever Ctrl-C comes."""
    begun = time.monotonic()
    leave_at_once()
    from ullage.cli.main import main as command_line

    code: object = INTERRUPTED
    try:
        command_line(begun=begun)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # after the work, while its output was written
        pass
    leave_with(code if isinstance(code, int) else 0)
    raise SystemExit(code)
