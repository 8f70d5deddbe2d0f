"""The ways that a run can take: nodes in their order, the graphs below them, and functions where they are called.

What depends on constants alone is followed: trips of loops, conditions, and the sizes of what operators make.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from modelward.scanning import sizes
from modelward.scanning.finding import Findings
from modelward.scanning.outline import Function, Graph, Key, Model, Node, named
from modelward.scanning.source import Source
from modelward.scanning.values import Array, constant, made, value_of, whole
from modelward.scanning.wire import Budget

# A client chooses these; what is computed of them may hide a number of the file's own. The shape of a part may hold one
# too, since Gather brings the dimensions of its indices into it.
Given = Literal["", "whole", "part"]
WHOLE = frozenset({"Identity", "Cast"})
MEASURES = frozenset({"Shape", "Size", "SequenceLength"})
PARTS = frozenset({"Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "ReduceMax"})
NEVER = 1_000_000_000  # trips
LONG = 1_000_000
DEEPEST_GRAPHS = 8
DEEPEST_CALLS = 16


class Scope(Struct):
    """What is known of values by their names. outer: of the graph around it. trips: of the graph within one run, as far
    as constants tell. given: what of an input of the model it is, also its size or a part of that."""

    outer: Scope | None = None
    values: dict[str, Array | None] = field(default_factory=dict)
    shapes: dict[str, sizes.Shape | None] = field(default_factory=dict)
    given: dict[str, Given] = field(default_factory=dict)
    trips: int = 1
    depth: int = 0
    calls: int = 0

    def inner(self, trips: int = 1) -> Scope:
        return Scope(self, trips=self.trips * trips, depth=self.depth + 1, calls=self.calls)

    def value(self, name: str) -> Array | None:
        scope: Scope | None = self
        while scope is not None and name not in scope.values:
            scope = scope.outer
        return None if scope is None else scope.values[name]

    def shape(self, name: str) -> sizes.Shape | None:
        scope: Scope | None = self
        while scope is not None and name not in scope.shapes:
            scope = scope.outer
        return None if scope is None else scope.shapes[name]

    def of_input(self, name: str) -> Given:
        scope: Scope | None = self
        while scope is not None and name not in scope.given:
            scope = scope.outer
        return "" if scope is None else scope.given[name]

    def made_of_input(self, node: Node) -> Given:
        found = self.of_input(next(iter(node.inputs), ""))
        if not found or node.domain not in ("", "ai.onnx"):
            return ""
        if node.operator in WHOLE:
            return found
        return "part" if node.operator in PARTS or (node.operator in MEASURES and found == "whole") else ""


class Walk:
    def __init__(self, model: Model, source: Source, budget: Budget, findings: Findings) -> None:
        self._source = source
        self._budget = budget
        self._findings = findings
        self._functions = {function.key: function for function in model.functions}
        self._called: set[Key] = set()
        self._told_depth = False

    def run(self, model: Model) -> None:
        """Raises TooMuch."""
        for graph in ([model.graph] if model.graph is not None else []) + model.training:
            stored = {tensor.name for tensor in graph.constants}
            self._graph(graph, Scope(given={each.name: "whole" for each in graph.inputs if each.name not in stored}))
        for function in model.functions:
            if function.key not in self._called:
                self._findings.add("function-unused", f"nothing calls the function {function.name[:80]!r}")
                self._call(function, [], Scope())

    def _graph(self, graph: Graph, scope: Scope) -> None:
        if scope.depth > DEEPEST_GRAPHS and not self._told_depth:
            self._told_depth = True
            self._findings.add("nesting-deep", f"graphs are nested more than {DEEPEST_GRAPHS} deep")
        for given in graph.inputs:  # a name here has nothing to do with the same one around it
            scope.values.setdefault(given.name, None)
            scope.shapes.setdefault(given.name, None)
            scope.given.setdefault(given.name, "")
        for tensor in graph.constants:
            scope.shapes[tensor.name] = tuple(tensor.dims)
            if (value := value_of(tensor, self._source)) is not None:
                scope.values[tensor.name] = value
        for node in graph.nodes:
            self._budget.spend()
            self._node(node, scope)

    def _node(self, node: Node, scope: Scope) -> None:
        function = self._functions.get((node.domain, node.operator, node.overload))
        if function is not None:
            self._called.add(function.key)
            self._call(function, node.inputs, scope)
            return
        if node.operator == "Loop":
            self._loop(node, scope)
            return
        if node.operator == "If" and scope.value(next(iter(node.inputs), "")) is not None:
            self._findings.add("branch-dead", "the condition is a constant", named(node))
        for graph in node.graphs:
            self._graph(graph, scope.inner())
        value = constant(node, self._source) if node.operator == "Constant" else self._made(node, scope)
        shape = sizes.made(node, scope)
        given = scope.made_of_input(node)
        for output in node.outputs:
            scope.values[output], scope.shapes[output], scope.given[output] = None, None, given
        for output in node.outputs[:1]:
            scope.values[output] = value
            scope.shapes[output] = shape if value is None else value.shape
        if shape is not None and (taken := sizes.bytes_of(shape)) >= sizes.LARGEST:
            what = f"constants alone make {taken:,} bytes"
            self._findings.add("size-constant", what, named(node))

    def _made(self, node: Node, scope: Scope) -> Array | None:
        if node.operator in ("Reshape", "Squeeze", "Unsqueeze"):
            return made(node, [scope.value(name) for name in node.inputs[:1]])
        return made(node, [scope.value(name) for name in node.inputs])

    def _call(self, function: Function, given: list[str], scope: Scope) -> None:
        """A function's body knows what it is given, and nothing else."""
        if scope.calls >= DEEPEST_CALLS:  # a circle is told by itself
            return
        below = Scope(trips=scope.trips, depth=scope.depth, calls=scope.calls + 1)
        for value, name in zip(function.body.inputs, given, strict=False):
            below.values[value.name], below.shapes[value.name] = scope.value(name), scope.shape(name)
            below.given[value.name] = scope.of_input(name)
        self._graph(function.body, below)

    def _loop(self, node: Node, scope: Scope) -> None:
        trips, condition = (whole(scope.value(name)) if name else None for name in [*node.inputs, "", ""][:2])
        given = [*node.inputs, "", ""]
        goes_on = not given[1] or (condition is not None and any(condition))
        count = trips[0] if trips else None
        for graph in node.graphs:
            below = scope.inner(max(1, count or 1))
            if len(graph.inputs) > 1:  # in a trip it is true
                below.values[graph.inputs[1].name] = sizes.TRUE
            self._graph(graph, below)
            still = whole(below.value(graph.outputs[0].name)) if graph.outputs else None
            ends = still is None or not any(still)
            self._judge(node, count, scope, given=given, begins=goes_on or condition is None, ends=ends)

    def _judge(
        self, node: Node, count: int | None, scope: Scope, *, given: list[str], begins: bool, ends: bool
    ) -> None:
        """count: trips where a constant says. begins: it may. ends: the
        condition may become false."""
        around = scope.trips
        if not begins or (count is not None and count <= 0):
            return
        if ends:
            if not given[0] or count is None or count > LONG:
                self._findings.add("loop-open", "its condition alone ends it", named(node))
            return
        if not given[0]:
            self._findings.add("loop-endless", "it has no number of trips, and its condition stays true", named(node))
        elif count is None and scope.of_input(given[0]):
            self._findings.add("loop-open", "its number of trips depends on an input", named(node))
        elif count is None:
            self._findings.add("loop-unbounded", "its number of trips could not be bounded", named(node))
        elif count * around >= NEVER:
            self._findings.add("loop-endless", f"it has {count * around:,} trips", named(node))
        elif count * around > LONG:
            self._findings.add("loop-long", f"it has {count * around:,} trips", named(node))
