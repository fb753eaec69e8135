"""Documents without what depends on the machine's load."""

from typing import Any

# Keys of seconds that were spent, and of what was found when.
SPENT = ("import_s", "order_s", "schedule_s", "solve_s", "total_s", "anytime")


def timeless(document: Any) -> Any:
    """A document without the seconds that it took to make it."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in SPENT}
    if isinstance(document, list | tuple):
        return [timeless(value) for value in document]
    return document
