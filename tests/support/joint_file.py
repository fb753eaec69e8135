"""A small joint training graph in fx form: a convolution, a norm, a product, and their updates."""

import json
from pathlib import Path
from typing import Any


def joint_document() -> dict[str, Any]:
    """X -> convolution k -> batch norm -> relu_ -> view -> mm w -> loss, backward, and updates."""

    def tensor(*shape: int, kind: str = "", dtype: str = "float32") -> dict[str, Any]:
        known: dict[str, Any] = {"shape": list(shape), "dtype": dtype}
        return {**known, "kind": kind} if kind else known

    def op(name: str, target: str, *inputs: str) -> dict[str, Any]:
        return {"name": name, "op": target, "inputs": list(inputs)}

    tensors = {
        "x": tensor(2, 3, 8, 8, kind="input"),
        "kernel": tensor(4, 3, 3, 3, kind="param"),
        "w": tensor(256, 5, kind="param"),
        "alias": tensor(256, 5),
        "convolution": tensor(2, 4, 8, 8),
        "getitem": tensor(2, 4, 8, 8),
        "getitem_1": tensor(4),
        "relu_": tensor(2, 4, 8, 8),
        "view": tensor(2, 256),
        "mm": tensor(2, 5),
        "sum_1": tensor(),
        "permute": tensor(256, 2),
        "grad_w": tensor(256, 5),
        "new_w": tensor(256, 5),
        "wt": tensor(5, 256),
        "mm_1": tensor(2, 256),
        "view_1": tensor(2, 4, 8, 8),
        "getitem_2": tensor(2, 3, 8, 8),
        "getitem_3": tensor(4, 3, 3, 3),
        "new_kernel": tensor(4, 3, 3, 3),
        "unused": tensor(2, 5),
    }
    ops = [
        op("alias", "aten.alias.default", "w"),
        op("convolution", "aten.convolution.default", "x", "kernel"),
        op("native_batch_norm", "aten.native_batch_norm.default", "convolution"),
        op("getitem", "<built-in function getitem>", "native_batch_norm"),
        op("getitem_1", "<built-in function getitem>", "native_batch_norm"),
        op("relu_", "aten.relu_.default", "getitem"),
        op("view", "aten.view.default", "relu_"),
        op("mm", "aten.mm.default", "view", "alias"),
        op("unused", "aten.neg.default", "mm"),
        op("sum_1", "aten.sum.dim_IntList", "mm"),
        op("permute", "aten.permute.default", "view"),
        op("grad_w", "aten.mm.default", "permute", "mm"),
        op("new_w", "aten.sub.Tensor", "alias", "grad_w"),
        op("wt", "aten.permute.default", "alias"),
        op("mm_1", "aten.mm.default", "mm", "wt"),
        op("view_1", "aten.view.default", "mm_1"),
        op("back", "aten.convolution_backward.default", "view_1", "x", "kernel"),
        op("getitem_2", "<built-in function getitem>", "back"),
        op("getitem_3", "<built-in function getitem>", "back"),
        op("new_kernel", "aten.sub.Tensor", "kernel", "getitem_3"),
    ]
    outputs = ["sum_1", "new_kernel", "new_w", "getitem_2"]
    return {"format": "fx-joint-1", "outputs": outputs, "tensors": tensors, "ops": ops}


def joint_file(folder: Path, document: object = None) -> Path:
    """The file of a document, by default of `joint_document`."""
    path = folder / "joint.json"
    path.write_text(json.dumps(joint_document() if document is None else document))
    return path
