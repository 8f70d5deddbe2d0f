"""What a scan keeps of a model: its structure. Large values stay in the file, and their places are kept."""

from __future__ import annotations

from msgspec import Struct, field

from modelward.scanning.source import Span

Imports = list[tuple[str, int]]


class Text(Struct):
    """A text or bytes that anything may stand in. of: what it belongs to, in words."""

    of: str
    span: Span


class Tensor(Struct):
    """stored: by field how many bytes, or for strings how many texts. first: the values' beginning where that field
    is the only one. external: as it stands there, None for data in the model."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    datatype: int = 0
    stored: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[Span]] = field(default_factory=dict)
    external: list[tuple[str, str]] = field(default_factory=list)
    is_external: bool = False
    texts: list[Text] = field(default_factory=list)


class Sparse(Struct):
    values: Tensor = field(default_factory=Tensor)
    indices: Tensor = field(default_factory=Tensor)
    dims: list[int] = field(default_factory=list)


class Attribute(Struct):
    """integers: the first of them."""

    name: str = ""
    integer: int | None = None
    integers: list[int] = field(default_factory=list)
    text: Span | None = None
    tensors: list[Tensor] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


class Node(Struct):
    operator: str = ""
    domain: str = ""
    overload: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    @property
    def graphs(self) -> list[Graph]:
        return [graph for attribute in self.attributes for graph in attribute.graphs]

    def attribute(self, name: str) -> Attribute | None:
        return next((each for each in self.attributes if each.name == name), None)


class Value(Struct):
    """An input, an output or a value that the model declares. dims: -1 for one without a number."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


class Graph(Struct):
    """defaults: of a function's parameters, where it is the body of one."""

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    initializers: list[Tensor] = field(default_factory=list)
    sparse: list[Sparse] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    defaults: list[Attribute] = field(default_factory=list)

    @property
    def constants(self) -> list[Tensor]:
        return [*self.initializers, *(sparse.values for sparse in self.sparse)]


class Function(Struct):
    """attributes: names of its parameters."""

    name: str = ""
    domain: str = ""
    overload: str = ""
    body: Graph = field(default_factory=Graph)
    imports: Imports = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.domain, self.name, self.overload


Key = tuple[str, str, str]


class Model(Struct):
    ir_version: int = 0
    imports: Imports = field(default_factory=list)
    graph: Graph | None = None
    functions: list[Function] = field(default_factory=list)
    training: list[Graph] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    @property
    def bodies(self) -> list[Graph]:
        """The graph, those of functions and those for training; not those within them."""
        main = [self.graph] if self.graph is not None else []
        return [*main, *(function.body for function in self.functions), *self.training]


def graphs_of(body: Graph) -> list[Graph]:
    """It and every graph below it."""
    found, pending = [], [body]
    while pending:
        graph = pending.pop()
        found.append(graph)
        pending += [below for node in graph.nodes for below in node.graphs]
        pending += [below for attribute in graph.defaults for below in attribute.graphs]
    return found


def tensors_of(body: Graph) -> list[tuple[str, Tensor]]:
    """All constants in it and below, with what each is, in words."""
    found = []
    for graph in graphs_of(body):
        found += [(f"initializer {tensor.name!r}", tensor) for tensor in graph.initializers]
        for sparse in graph.sparse:
            found += [
                (f"sparse initializer {sparse.values.name!r}", tensor) for tensor in (sparse.values, sparse.indices)
            ]
        for node in graph.nodes:
            for attribute in node.attributes:
                found += [(f"attribute {attribute.name!r} of {named(node)}", tensor) for tensor in attribute.tensors]
        for attribute in graph.defaults:
            found += [(f"default of {attribute.name!r}", tensor) for tensor in attribute.tensors]
    return found


def named(node: Node) -> str:
    """A node in words."""
    return f"node {node.name[:80]!r} ({node.operator[:80]})" if node.name else f"a node {node.operator[:80]}"
