"""What Ctrl-C does while there is no plan to keep: before the command runs, and after it.

In between it raises `KeyboardInterrupt`, as everywhere in Python. While modules are imported that
would end in a traceback, or in an error of the module that it happened to meet; while the process
ends, in another exit code than that of the work, which is done. This module imports next to
nothing: before it is there, Ctrl-C is Python's own.
"""

import os
import signal
import sys

# Exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130
# What is said where Ctrl-C came before anything was found.
NOTHING_YET = "interrupted before any plan was found"
# The same as a JSON document; nothing is imported to write it.
_DOCUMENT = f"""{{
  "error": {{
    "kind": "interrupted",
    "message": "{NOTHING_YET}",
    "details": {{}}
  }}
}}
"""


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process, with the documented code and message.

    Where it is ignored (`nohup`, a job in the background), it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_again() -> None:
    """From now on Ctrl-C raises `KeyboardInterrupt`, where `leave_at_once` had changed that."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_with(code: int) -> None:
    """From now on Ctrl-C ends the process with the code of the work that is done."""

    def leave(_signal: int, _frame: object) -> None:
        os._exit(code)

    if signal.getsignal(signal.SIGINT) in (_leave, signal.default_int_handler):
        signal.signal(signal.SIGINT, leave)


def _leave(_signal: int, _frame: object) -> None:
    as_json = "--json" in sys.argv
    text = _DOCUMENT if as_json else f"ullage: {NOTHING_YET}\n"
    try:
        os.write(1 if as_json else 2, text.encode())
    finally:  # whether somebody reads it or not
        os._exit(INTERRUPTED)
