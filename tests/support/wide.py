"""How many random cases a test takes: a share of them, and all with `--wide` (see conftest)."""

_asked = [False]


def ask_for_all() -> None:
    """From here on every test takes all its cases; called before tests are read."""
    _asked[0] = True


def share(count: int, keep: int) -> int:
    """`keep`, and `count` where all cases are asked for."""
    return count if _asked[0] else keep
