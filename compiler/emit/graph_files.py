"""`analyze --emit dot,graphml`: the graph itself, with sizes and costs, for Graphviz and others.

Both formats are made from `Graph.to_networkx`: a node per operator and per value. Names come from
the model's file and may hold any character, so they are escaped here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.files import write_atomic
from ullage.compiler.common.palette import LIGHT, OPERATORS, OTHER_OPERATORS
from ullage.compiler.common.units import format_size, format_time
from ullage.compiler.frontend import Prepared
from ullage.hwmodels.cost import compute_seconds

if TYPE_CHECKING:
    import networkx as nx

# Characters of a name in a picture.
LABEL_LENGTH = 48
# Characters that XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Characters of a model's name that are replaced in the names of files.
_NOT_A_FILE_NAME = re.compile(r"[^\w .()+-]")


def emit_graph(prepared: Prepared, folder: Path, formats: Sequence[str]) -> dict[str, str]:
    """Write the graph as MODEL.dot, MODEL.graphml, or both.

    Returns:
        Name of the format -> path of the file.

    Raises:
        UsageError: the folder cannot be made or written to.
    """
    if not formats:
        return {}
    net = costed(prepared)
    stem = _NOT_A_FILE_NAME.sub("_", prepared.graph.name) or "model"
    written: dict[str, str] = {}
    for name in formats:
        path = folder / f"{stem}.{name}"
        write_atomic(path, GRAPH_FORMATS[name](net).encode())
        written[name] = str(path)
    return written


def costed(prepared: Prepared) -> "nx.DiGraph":
    """The graph for networkx, with `compute_s` (float, seconds on the target) for operators.

    It is 0 for operators that alias analysis removed because they only arrange bytes. Overhead per
    operator is left out.
    """
    net = prepared.graph.to_networkx()
    seconds, _ = compute_seconds(prepared.problem)
    for index in range(len(prepared.graph.operators)):
        net.nodes[index]["compute_s"] = 0.0
    for step, compute_s in zip(prepared.problem.steps, seconds.tolist(), strict=True):
        if step.operator >= 0:
            net.nodes[step.operator]["compute_s"] = compute_s
    return net


def dot_text(net: "nx.DiGraph") -> str:
    """The graph in Graphviz's language: `dot -Tsvg MODEL.dot -o MODEL.svg`.

    Operators are boxes coloured by kind, with a double frame where several nodes of the model were
    fused; values are ellipses framed in the colour of their kind; weights hang beside their
    operators.
    """
    return "\n".join(_dot_lines(net)) + "\n"


def _dot_lines(net: "nx.DiGraph") -> Iterator[str]:
    fills = _kind_colours(net)
    yield f"digraph {_quoted(net.name)} {{"
    yield '  node [fontname="Helvetica", fontsize=10];'
    yield '  edge [color="#666666", arrowsize=0.6];'
    for number, has in enumerate(net.nodes.values()):
        if has["role"] == "operator":
            frames = 2 if len(has["nodes"]) > 1 else 1
            look = f'shape=box, style=filled, fillcolor="{fills[has["kind"]]}"'
            look += f", peripheries={frames}, label={_quoted(*_operator_label(has))}"
        else:
            shape = "note" if has["kind"] == "weight" else "ellipse"
            look = f'shape={shape}, color="{LIGHT[has["kind"]]}"'
            look += f", label={_quoted(*_value_label(has))}"
        yield f"  n{number} [{look}];"
    numbers = {node: number for number, node in enumerate(net)}
    for source, result in net.edges:
        yield f"  n{numbers[source]} -> n{numbers[result]};"
    yield "}"


def _operator_label(has: Mapping[str, Any]) -> Iterator[str]:
    yield has["name"]
    fused = len(has["nodes"]) - 1
    yield f"{has['kind']} and {fused} fused" if fused > 0 else has["kind"]
    if has["macs"]:
        yield f"{has['macs'] / 1e6:,.3g} M MAC"
    yield format_time(has["compute_s"]) if has["compute_s"] else "no compute time"


def _value_label(has: Mapping[str, Any]) -> Iterator[str]:
    yield has["name"]
    yield f"{has['dtype']} {'x'.join(map(str, has['shape'])) or 'scalar'}"
    yield format_size(has["size_bytes"])


def _kind_colours(net: "nx.DiGraph") -> dict[str, str]:
    """A colour for each kind of operator; those that take most time come first."""
    seconds: dict[str, float] = {}
    for has in net.nodes.values():
        if has["role"] == "operator":
            seconds[has["kind"]] = seconds.get(has["kind"], 0.0) + has["compute_s"]
    ranked = sorted(seconds, key=lambda kind: (-seconds[kind], kind))
    return dict.fromkeys(ranked, OTHER_OPERATORS) | dict(zip(ranked, OPERATORS, strict=False))


def _quoted(*lines: str) -> str:
    """Lines of text as one quoted string of Graphviz's language."""
    shown = (_shortened(_printable(line)) for line in lines)
    # A backslash begins an escape in quoted text, an ampersand an entity.
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})
    return '"' + "\\n".join(line.translate(escapes) for line in shown) + '"'


def _shortened(text: str) -> str:
    """A name cut to `LABEL_LENGTH` at its begin: names of a module path differ at the end."""
    return text if len(text) <= LABEL_LENGTH else "..." + text[3 - LABEL_LENGTH :]


def _printable(text: str) -> str:
    """A text with control characters and line ends escaped."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def graphml_text(net: "nx.DiGraph") -> str:
    """The graph as GraphML, for yEd, Gephi, Cytoscape, igraph and networkx.

    Node ids are `operator0`, `value0` and so on, since names need not be ids. Attributes are
    numbers and texts: shapes are `1x3x224x224`, truth values `true` and `false`, `fused_nodes` is
    the length of `nodes`; `reach` and other tuples (`gemms`, `nests`, `sharings`, `accessed_bytes`)
    are left out.
    """
    import networkx as nx

    plain = nx.DiGraph(name=_xml(net.name))
    values = (node for node, role in net.nodes(data="role") if role == "value")
    keys = {name: f"value{number}" for number, name in enumerate(values)}
    keys |= {node: f"operator{node}" for node in net if node not in keys}
    for node, has in net.nodes(data=True):
        if has["role"] == "operator":
            own = has | {"fused_nodes": len(has["nodes"])}
        else:
            shape = "x".join(map(str, has["shape"]))
            own = has | {"shape": shape, "is_upper_bound": str(has["is_upper_bound"]).lower()}
        simple = {name: v for name, v in own.items() if isinstance(v, int | float | str)}
        texts = {name: _xml(v) for name, v in simple.items() if isinstance(v, str)}
        plain.add_node(keys[node], **(simple | texts))
    for source, result, has in net.edges(data=True):
        plain.add_edge(keys[source], keys[result], **has)
    return "\n".join(nx.generate_graphml(plain)) + "\n"


def _xml(text: str) -> str:
    """A text with the characters escaped that XML 1.0 cannot hold at all."""
    return _NOT_XML.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


# format -> function(costed graph) -> text of the file
GRAPH_FORMATS: Mapping[str, Callable[["nx.DiGraph"], str]] = {
    "dot": dot_text,
    "graphml": graphml_text,
}
