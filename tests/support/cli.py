"""Documents that the command line prints: their keys and types."""

from collections.abc import Callable
from typing import Any

COMPILE_KEYS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "target": str,
    "solver": str,
    "objective": str,
    "order": str,
    "seed": int,
    "steady_state": bool,
    "status": str,
    "latency_s": float,
    "compute_s": float,
    "all_slow_latency_s": float,
    "simulated_latency_s": float,
    "lower_bound_s": float,
    "gap": float,
    "bound_source": str,
    "value": float,
    "lower_bound": float,
    "traffic_bytes": dict,
    "compulsory_bytes": int,
    "noncompulsory_bytes": int,
    "traffic_by_kind_bytes": dict,
    "streamed_bytes": int,
    "inferences_per_s": float,
    "dma_busy": float,
    "dma_busy_by_link": dict,
    "fast_memory_occupancy": float,
    "energy_j": float,
    "peak_bytes": dict,
    "load_bytes": dict,
    "operators": int,
    "buffers": int,
    "slices": int,
    "transfers": int,
    "import_s": float,
    "order_s": float,
    "solve_s": float,
    "total_s": float,
    "verified": bool,
}


ANALYZE_KEYS: dict[str, type] = {
    "weights_bytes": int,
    "activations_bytes": int,
    "largest_tensor_bytes": int,
    "max_operator_bytes": int,
    "min_peak_bytes": int,
    "min_peak_lower_bound_bytes": int,
    "min_peak_bound_source": str,
    "min_peak_proven": bool,
    "peak_residents": list,
    "macs": int,
    "unsupported": list,
    "barriers": list,
    "operators_detail": list,
    "tiers": list,
}


Json = Callable[..., dict[str, Any]]


def has_types(document: dict[str, Any], keys: dict[str, Any]) -> None:
    for key, kind in keys.items():
        assert isinstance(document[key], kind), (key, document[key])
