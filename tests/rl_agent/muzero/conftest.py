"""Nothing here is collected where the extra `muzero` is missing."""

from importlib.util import find_spec

NEEDED = ("jax", "mctx", "optax")
collect_ignore_glob = [] if all(map(find_spec, NEEDED)) else ["test_*.py"]
