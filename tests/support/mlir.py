"""Functions of MLIR around a body."""

import re

from ullage.compiler.integrations.mlir_text import problem_from_mlir
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.catalog.registry import load_target

TARGET = load_target("edge-npu")
# The type of the argument %x.
T = "memref<8x16xf32>"
GLOBALS = "memref.global @w : memref<8x16xf32> memref.global @top : memref<4x16xf32>"


def problem_of(body: str, arguments: str = f"%x: {T}", *, aliases: str = "") -> Problem:
    """The problem of a body, which begins in line 4; its `return` gives the signature's results.

    Args:
        body: operations, a line each.
        arguments: of the function.
        aliases: definitions at the head of the module, in one line.
    """
    returned = re.search(r"return %\w+ : (.*)", body)
    result = f"-> {returned[1]}" if returned else ""
    head = f"{aliases}module {{ {GLOBALS}\n  func.func private @callee({T})\n"
    text = f"{head}  func.func @f({arguments}) {result} {{\n{body}\n  }}\n}}\n"
    return problem_from_mlir(text, TARGET)
