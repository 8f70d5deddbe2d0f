"""Reads the structure of a model from its bytes, by the fields that the installed release of onnx knows.

Bytes may be anything: what is wrong becomes a finding, and reading stops where it makes no more sense.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import Struct
from onnx import onnx_ml_pb2

from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Attribute, Function, Graph, Model, Node, Sparse, Tensor, Text, Value
from modelward.scanning.source import Source, Span
from modelward.scanning.wire import BYTES, FIXED32, FIXED64, VARINT, Budget, Damaged, fields, signed, varints

DEEPEST = 64  # messages within messages; protobuf's own bound is 100
MESSAGES_OF_A_GRAPH = 3  # a graph lies in an attribute of a node of a graph
LONGEST_TEXT = 1024  # bytes of a name
FREE_BYTES = 128  # of a name; of a longer one as many count as a field
OBJECT = 4  # fields that one more object of the outline counts as
MOST_INTEGERS = 64  # of one attribute or of dimensions
FEWEST_BYTES = 16  # of a text in a list that is worth a look
MOST_TEXTS = 10_000  # of one list

TEXTS = {"doc_string", "producer_name", "producer_version", "denotation"}


class Known(Struct, frozen=True):
    """A field that ONNX has. wires: the types that it may be written as. below: of a message."""

    name: str
    wires: tuple[int, ...]
    repeats: bool
    below: Any


@cache
def known(descriptor: Any) -> dict[int, Known]:
    return {each.number: _known(each) for each in descriptor.fields}


def _known(field: Any) -> Known:
    # protobuf 7 has no label any more, older releases have nothing else
    repeats = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    wire = {
        field.TYPE_FLOAT: FIXED32,
        field.TYPE_DOUBLE: FIXED64,
        field.TYPE_STRING: BYTES,
        field.TYPE_BYTES: BYTES,
        field.TYPE_MESSAGE: BYTES,
    }.get(field.type, VARINT)
    wires = (wire, BYTES) if repeats and wire != BYTES else (wire,)
    return Known(field.name, wires, repeats, field.message_type)


class Reader:
    """Of one model; `read` it once."""

    def __init__(self, source: Source, budget: Budget, findings: Findings) -> None:
        self._source = source
        self._budget = budget
        self._findings = findings
        self._depth = 0
        self._long: list[Text] = []

    def read(self) -> Model:
        """What could be read. Raises TooMuch."""
        model = Model()
        try:
            self._model(model, (0, self._source.size))
        except Damaged as damaged:
            where = "behind the graph" if model.graph is not None else ""
            self._findings.add("protobuf-damaged", f"the file is damaged: {damaged}", where)
        model.texts += self._long
        return model

    def _fields(self, descriptor: Any, span: Span) -> Iterator[tuple[str, Any, Any]]:
        """Name, value and what a message is; what cannot be is told, and left out."""
        table, seen = known(descriptor), set()
        for number, wire, value in fields(self._source, span, self._budget):
            field = table.get(number)
            if field is None or wire not in field.wires:
                size = value[1] - value[0] if isinstance(value, tuple) else 8
                what = f"{descriptor.name} has the unknown field {number} of {size} bytes"
                if field is not None:
                    what = f"{descriptor.name}.{field.name} is written as another type, {wire}"
                self._findings.add("protobuf-unknown-field", what, f"byte {span[0]}")
                continue
            if not field.repeats and field.name in seen:
                what = f"{descriptor.name} has the field {field.name} twice"
                self._findings.add("protobuf-repeated-field", what, f"byte {span[0]}")
            seen.add(field.name)
            yield field.name, value, field.below

    def _skip(self, descriptor: Any, span: Span, texts: list[Text], of: str) -> None:
        """A message of which only the form and the texts matter."""
        with self._deeper():
            for name, value, below in self._fields(descriptor, span):
                if below is not None:
                    self._skip(below, value, texts, of)
                elif name in TEXTS and isinstance(value, tuple):
                    texts.append(Text(f"{name} of {of}", value))

    @contextlib.contextmanager
    def _deeper(self, levels: int = 1) -> Iterator[None]:
        self._depth += levels
        if self._depth > DEEPEST:
            self._findings.add("protobuf-nesting", f"messages are nested more than {DEEPEST} deep")
            raise Damaged("it is nested too deep to be read further")
        yield
        self._depth -= levels

    def _text(self, span: Span) -> str:
        start, stop = span
        self._budget.spend(min(stop - start, LONGEST_TEXT) // FREE_BYTES)  # else names had a kilobyte for each field
        if stop - start > LONGEST_TEXT:
            self._long.append(Text("a long name", span))
            text = self._source.read(start, start + LONGEST_TEXT).decode(errors="backslashreplace")
            self._findings.add("name-long", f"a name has {stop - start} bytes", quoted(text))
            return f"{text}... at {start}"  # which no other has
        return self._source.read(start, stop).decode(errors="backslashreplace")

    def _model(self, model: Model, span: Span) -> None:
        for name, value, below in self._fields(onnx_ml_pb2.ModelProto.DESCRIPTOR, span):
            match name:
                case "ir_version":
                    model.ir_version = signed(value)
                case "opset_import":
                    model.imports.append(self._import(value))
                case "graph":
                    model.graph = model.graph or Graph()  # a second one is joined with the first
                    self._graph(model.graph, value)
                case "functions":
                    model.functions.append(Function())
                    self._function(model.functions[-1], value)
                case "metadata_props":
                    model.texts += self._metadata(value, "the model")
                case "training_info":
                    self._training(model, value)
                case "doc_string" | "producer_name" | "producer_version" | "domain":
                    model.texts.append(Text(f"{name} of the model", value))
                case _ if below is not None:
                    self._skip(below, value, model.texts, name)

    def _training(self, model: Model, span: Span) -> None:
        for name, value, below in self._fields(onnx_ml_pb2.TrainingInfoProto.DESCRIPTOR, span):
            if name in ("initialization", "algorithm"):
                model.training.append(Graph())
                self._graph(model.training[-1], value)
            elif below is not None:
                self._skip(below, value, model.texts, name)

    def _import(self, span: Span) -> tuple[str, int]:
        domain, version = "", 0
        for name, value, _ in self._fields(onnx_ml_pb2.OperatorSetIdProto.DESCRIPTOR, span):
            if name == "domain":
                domain = self._text(value)
            else:
                version = signed(value)
        return domain, version

    def _metadata(self, span: Span, of: str) -> list[Text]:
        texts, key = [], ""
        for name, value, _ in self._fields(onnx_ml_pb2.StringStringEntryProto.DESCRIPTOR, span):
            if name == "key":
                key = self._text(value)
            texts.append(value)
        return [Text(f"metadata {quoted(key)} of {of}", each) for each in texts]

    def _function(self, function: Function, span: Span) -> None:
        body = function.body
        for name, value, below in self._fields(onnx_ml_pb2.FunctionProto.DESCRIPTOR, span):
            match name:
                case "name" | "domain" | "overload":
                    setattr(function, name, self._text(value))
                case "input" | "output":
                    (body.inputs if name == "input" else body.outputs).append(Value(self._text(value)))
                case "node":
                    body.nodes.append(self._node(value))
                case "opset_import":
                    function.imports.append(self._import(value))
                case "attribute_proto":
                    body.defaults.append(self._attribute(value))
                case "metadata_props":
                    body.texts += self._metadata(value, "a function")
                case "doc_string":
                    body.texts.append(Text("doc_string of a function", value))
                case _ if below is not None:
                    self._skip(below, value, body.texts, "a function")
        body.name = function.name

    def _graph(self, graph: Graph, span: Span) -> None:
        with self._deeper(MESSAGES_OF_A_GRAPH):
            for name, value, below in self._fields(onnx_ml_pb2.GraphProto.DESCRIPTOR, span):
                match name:
                    case "node":
                        graph.nodes.append(self._node(value))
                    case "name":
                        graph.name = self._text(value)
                        if value[1] - value[0] <= LONGEST_TEXT:  # else it is kept as one that is too long
                            graph.texts.append(Text("the name of a graph", value))
                    case "initializer":
                        graph.initializers.append(self._tensor(value))
                    case "sparse_initializer":
                        graph.sparse.append(self._sparse(value))
                    case "input" | "output" | "value_info":
                        kept = {"input": graph.inputs, "output": graph.outputs, "value_info": graph.values}[name]
                        kept.append(self._value(value))
                    case "metadata_props":
                        graph.texts += self._metadata(value, f"graph {quoted(graph.name)}")
                    case "doc_string":
                        graph.texts.append(Text(f"doc_string of graph {quoted(graph.name)}", value))
                    case _ if below is not None:
                        self._skip(below, value, graph.texts, name)

    def _value(self, span: Span) -> Value:
        self._budget.spend(OBJECT)
        found = Value()
        for name, value, below in self._fields(onnx_ml_pb2.ValueInfoProto.DESCRIPTOR, span):
            match name:
                case "name":
                    found.name = self._text(value)
                case "type":
                    self._type(below, value, found)
                case "doc_string":
                    found.texts.append(Text("doc_string of a value", value))
                case "metadata_props":
                    found.texts += self._metadata(value, "a value")
        return found

    def _type(self, descriptor: Any, span: Span, of: Value) -> None:
        """Dimensions, of whatever tensor the type is made of."""
        with self._deeper():
            for name, value, below in self._fields(descriptor, span):
                if name == "dim" and len(of.dims) <= MOST_INTEGERS:
                    of.dims.append(-1)
                if name == "dim_value" and of.dims:
                    of.dims[-1] = signed(value) if signed(value) >= 0 else -2
                elif below is not None:
                    self._type(below, value, of)
                elif name in TEXTS:
                    of.texts.append(Text(f"{name} of a value", value))

    def _node(self, span: Span) -> Node:
        self._budget.spend(OBJECT)
        node = Node()
        for name, value, below in self._fields(onnx_ml_pb2.NodeProto.DESCRIPTOR, span):
            match name:
                case "input":
                    node.inputs.append(self._text(value))
                case "output":
                    node.outputs.append(self._text(value))
                case "op_type":
                    node.operator = self._text(value)
                case "name" | "domain" | "overload":
                    setattr(node, name, self._text(value))
                case "attribute":
                    node.attributes.append(self._attribute(value))
                case "metadata_props":
                    node.texts += self._metadata(value, "a node")
                case "doc_string":
                    node.texts.append(Text("doc_string of a node", value))
                case _ if below is not None:
                    self._skip(below, value, node.texts, "a node")
        return node

    def _attribute(self, span: Span) -> Attribute:
        self._budget.spend(OBJECT)
        found = Attribute()
        texts: list[Span] = []
        for name, value, below in self._fields(onnx_ml_pb2.AttributeProto.DESCRIPTOR, span):
            match name:
                case "name":
                    found.name = self._text(value)
                case "i":
                    found.integer = signed(value)
                case "ints":
                    self._integers(found.integers, value)
                case "s":
                    found.text = value
                    texts.append(value)
                case "strings" if value[1] - value[0] >= FEWEST_BYTES and len(texts) < MOST_TEXTS:
                    texts.append(value)
                case "doc_string":
                    texts.append(value)
                case "t" | "tensors":
                    found.tensors.append(self._tensor(value))
                case "sparse_tensor" | "sparse_tensors":
                    sparse = self._sparse(value)
                    found.tensors += [sparse.values, sparse.indices]
                case "g" | "graphs":
                    found.graphs.append(Graph())
                    self._graph(found.graphs[-1], value)
                case _ if below is not None:
                    self._skip(below, value, found.texts, "an attribute")
        found.texts += [Text(f"attribute {quoted(found.name)}", each) for each in texts]
        return found

    def _integers(self, kept: list[int], value: int | Span) -> None:
        if isinstance(value, int):
            kept += [signed(value)] if len(kept) <= MOST_INTEGERS else []
        else:
            kept += varints(self._source.read(value[0], min(value[1], value[0] + 10 * MOST_INTEGERS)), MOST_INTEGERS)

    def _sparse(self, span: Span) -> Sparse:
        sparse = Sparse()
        for name, value, _ in self._fields(onnx_ml_pb2.SparseTensorProto.DESCRIPTOR, span):
            match name:
                case "values":
                    sparse.values = self._tensor(value)
                case "indices":
                    sparse.indices = self._tensor(value)
                case "dims":
                    self._integers(sparse.dims, value)
        return sparse

    def _tensor(self, span: Span) -> Tensor:
        self._budget.spend(OBJECT)
        tensor = Tensor()
        for name, value, below in self._fields(onnx_ml_pb2.TensorProto.DESCRIPTOR, span):
            match name:
                case "name":
                    tensor.name = self._text(value)
                case "dims":
                    self._integers(tensor.dims, value)
                case "data_type":
                    tensor.datatype = value
                case "data_location":
                    tensor.is_external = value == onnx_ml_pb2.TensorProto.EXTERNAL
                case "external_data":
                    tensor.external.append(self._entry(value))
                case "string_data":
                    tensor.stored[name] = tensor.stored.get(name, 0) + 1
                    kept = tensor.places.setdefault(name, [])
                    if value[1] - value[0] >= FEWEST_BYTES and len(kept) < MOST_TEXTS:
                        kept.append(value)
                case "raw_data" | "float_data" | "double_data" | "int32_data" | "int64_data" | "uint64_data":
                    place = value if isinstance(value, tuple) else (0, 0)
                    tensor.stored[name] = tensor.stored.get(name, 0) + place[1] - place[0]
                    tensor.places.setdefault(name, []).append(place)
                case "doc_string":
                    tensor.texts.append(Text("doc_string of a constant", value))
                case "metadata_props":
                    tensor.texts += self._metadata(value, "a constant")
                case _ if below is not None:
                    self._skip(below, value, tensor.texts, "a constant")
        return tensor

    def _entry(self, span: Span) -> tuple[str, str]:
        key = text = ""
        for name, value, _ in self._fields(onnx_ml_pb2.StringStringEntryProto.DESCRIPTOR, span):
            if name == "key":
                key = self._text(value)
            else:
                text = self._text(value)
        return key, text
