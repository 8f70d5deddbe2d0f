"""Model files are checked before anything runs them; every refusal says what to do."""

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelward.models import external
from modelward.models.artifact import Artifact
from modelward.models.model_file import NEWEST_IR, NEWEST_OPSET, load_artifact
from modelward.models.operators import MOST_NODES
from modelward.problem import ProblemsFound
from modelward.repository.files import read_hashed
from modelward.tensors import HIGHEST_RANK, MOST_TENSORS, TensorSpec
from tests import models


def load(folder: Path, content: bytes) -> Artifact:
    (folder / "model.onnx").write_bytes(content)
    return load_artifact(folder, folder / "model.onnx")


def refusals(folder: Path, content: bytes) -> list[str]:
    with pytest.raises(ProblemsFound) as found:
        load(folder, content)
    return [f"{problem.what}. {problem.how}" for problem in found.value.problems]


def refusal(folder: Path, content: bytes) -> str:
    (only,) = refusals(folder, content)
    return only


def run(artifact: Artifact, **inputs: object) -> list[object]:
    session = onnxruntime.InferenceSession(artifact.data, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def changed(content: bytes, **fields: object) -> bytes:
    model = onnx.load_model_from_string(content)
    for name, value in fields.items():
        setattr(model, name, value)
    return bytes(model.SerializeToString())


def test_a_model_tells_its_signature_hash_and_opset(tmp_path: Path) -> None:
    content = models.two_inputs()
    artifact = load(tmp_path, content)
    assert artifact.inputs == (
        TensorSpec("a", "FP32", (-1, 3), ("batch", None)),
        TensorSpec("b", "INT64", (-1, 2), ("batch", None)),
    )
    assert [str(spec) for spec in artifact.outputs] == ["total FP32 [batch, 1]", "negated INT64 [batch, 2]"]
    assert (artifact.data, artifact.sha256) == (content, hashlib.sha256(content).hexdigest())
    assert artifact.opset == models.OPSET


@pytest.mark.parametrize(
    ("onnx_type", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.UINT16, "UINT16"),
        (TensorProto.UINT32, "UINT32"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.BFLOAT16, "BF16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.STRING, "BYTES"),
    ],
)
def test_every_datatype_of_the_protocol_is_accepted(tmp_path: Path, onnx_type: int, datatype: str) -> None:
    artifact = load(tmp_path, models.identity(onnx_type))
    assert (artifact.inputs[0].datatype, artifact.outputs[0].datatype) == (datatype, datatype)


@pytest.mark.parametrize(
    "name", ["COMPLEX64", "COMPLEX128", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT4", "UINT4", "UNDEFINED"]
)
def test_a_datatype_that_the_protocol_lacks_is_refused(tmp_path: Path, name: str) -> None:
    told = refusals(tmp_path, models.identity(TensorProto.DataType.Value(name)))
    assert f"input 'x' has datatype {name}, which the protocol lacks" in told[0]
    assert f"output 'y' has datatype {name}, which the protocol lacks" in told[1]


@pytest.mark.parametrize(
    ("shape", "expected", "symbols"),
    [
        (["batch", 4], (-1, 4), ("batch", None)),
        ([None, "n"], (-1, -1), (None, "n")),
        ([], (), ()),
        ([0, -1], (0, -1), (None, None)),
        ([1] * HIGHEST_RANK, (1,) * HIGHEST_RANK, (None,) * HIGHEST_RANK),
    ],
)
def test_axes_keep_their_size_or_their_symbol(
    tmp_path: Path, shape: models.Shape, expected: tuple[int, ...], symbols: tuple[str | None, ...]
) -> None:
    spec = load(tmp_path, models.identity(shape=shape)).inputs[0]
    assert (spec.shape, spec.symbols) == (expected, symbols)


def test_an_input_of_unknown_rank_or_of_too_many_dimensions_is_refused(tmp_path: Path) -> None:
    assert "input 'x' has no shape" in refusals(tmp_path, models.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [models.tensor("x", TensorProto.FLOAT, None)], [models.tensor("y", TensorProto.FLOAT, ["batch"])],
    ).SerializeToString())[0]  # fmt: skip
    assert "input 'x' has 17 dimensions" in refusals(tmp_path, models.identity(shape=[1] * 17))[0]


def test_an_output_without_a_shape_gets_the_one_that_follows_from_the_graph(tmp_path: Path) -> None:
    inferred = models.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 4])],
        [models.tensor("y", TensorProto.FLOAT, None)],
    ).SerializeToString()
    assert load(tmp_path, inferred).outputs == (TensorSpec("y", "FP32", (-1, 4), ("batch", None)),)


def test_an_input_with_an_initializer_is_a_constant(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(models.add_one())
    model.graph.input.append(models.tensor("one", TensorProto.FLOAT, [1]))
    assert [spec.name for spec in load(tmp_path, model.SerializeToString()).inputs] == ["x"]


def test_the_runtimes_own_iris_example_is_refused_with_the_way_to_export_it(tmp_path: Path) -> None:
    iris = Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx"
    assert refusal(tmp_path, iris.read_bytes()) == (
        "output 'probabilities' is a sequence of maps, which the protocol has no tensor for. "
        "Export the classifier with zipmap=False"
    )


def test_sequences_optionals_and_sparse_tensors_are_refused(tmp_path: Path) -> None:
    assert "output 'parts' is a sequence of tensors" in refusal(tmp_path, models.sequence_output())
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    for declared, finding in (
        (helper.make_optional_type_proto(element), "an optional of tensors"),
        (helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [1]), "a sparse tensor"),
        (helper.make_map_type_proto(TensorProto.STRING, element), "a map"),
        (onnx.TypeProto(), "of no declared type"),
    ):
        node = helper.make_node("Identity", ["x"], ["y"])
        values = [helper.make_value_info(name, declared) for name in "xy"]
        assert finding in refusals(tmp_path, models.model([node], values[:1], values[1:]).SerializeToString())[0]


def test_names_that_a_log_or_a_client_could_not_bear_are_refused(tmp_path: Path) -> None:
    for name in ("a\x1b[31m", "n" * 257, ""):
        node = helper.make_node("Identity", [name], ["y"])
        shape = ["batch", 4]
        model = models.model([node], [models.tensor(name, 1, shape)], [models.tensor("y", 1, shape)])
        assert "has no usable name" in refusals(tmp_path, model.SerializeToString())[0]


def test_two_tensors_of_one_name_and_too_many_or_no_tensors_are_refused(tmp_path: Path) -> None:
    def with_outputs(names: list[str]) -> bytes:
        node = helper.make_node("Identity", ["x"], ["y"])
        inputs = [models.tensor("x", TensorProto.FLOAT, ["batch"])]
        outputs = [models.tensor(name, TensorProto.FLOAT, ["batch"]) for name in names]
        return bytes(models.model([node], inputs, outputs).SerializeToString())

    assert "two outputs are called 'y'" in refusal(tmp_path, with_outputs(["y", "y"]))
    assert "the model has 0 outputs" in refusal(tmp_path, with_outputs([]))
    too_many = [f"y{i}" for i in range(MOST_TENSORS + 1)]
    assert f"the model has {MOST_TENSORS + 1} outputs" in refusal(tmp_path, with_outputs(too_many))


def test_operators_of_other_domains_are_refused_wherever_they_hide(tmp_path: Path) -> None:
    for content in (models.custom_domain(), models.custom_domain_in_branch()):
        assert "operator 'Teleport' is of the domain 'example.custom'" in refusal(tmp_path, content)
    in_function = helper.make_function(
        "local", "Twice", ["x"], ["y"], [helper.make_node("Teleport", ["x"], ["y"], domain="example.custom")],
        [helper.make_opsetid("example.custom", 1)],
    )  # fmt: skip
    assert "'example.custom'" in refusal(tmp_path, with_functions([in_function], "Twice"))


def test_operators_that_ship_with_the_runtime_are_accepted(tmp_path: Path) -> None:
    assert load(tmp_path, models.custom_domain("com.microsoft", "Gelu")).outputs[0].name == "y"
    assert "Did you mean com.microsoft?" in refusal(tmp_path, models.custom_domain("com.micrsoft", "Gelu"))


def test_the_operator_that_names_further_files_is_refused(tmp_path: Path) -> None:
    assert "the operator EPContext is refused" in refusal(tmp_path, models.custom_domain("com.microsoft", "EPContext"))


def with_functions(functions: list[onnx.FunctionProto], called: str) -> bytes:
    node = helper.make_node(called, ["x"], ["y"], domain="local")
    shape = ["batch", 4]
    model = models.model(
        [node], [models.tensor("x", 1, shape)], [models.tensor("y", 1, shape)], domains=[("local", 1)]
    )  # fmt: skip
    model.functions.extend(functions)
    return bytes(model.SerializeToString())


def function(name: str, *called: str) -> onnx.FunctionProto:
    nodes = [
        helper.make_node(other, ["x"], ["y" if i == 0 else f"y{i}"], domain="local") for i, other in enumerate(called)
    ]
    nodes = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    imports = [helper.make_opsetid("", models.OPSET), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["x"], ["y"], nodes, imports)


def test_a_function_that_the_model_brings_itself_is_accepted_and_runs(tmp_path: Path) -> None:
    artifact = load(tmp_path, with_functions([function("Outer", "Inner"), function("Inner")], "Outer"))
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(run(artifact, x=x)[0], x)


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, with_functions([function("A", "B"), function("B", "A")], "A"))
    assert "functions of the model call each other in a circle" in told


def test_functions_that_multiply_are_refused(tmp_path: Path) -> None:
    bomb = [function(f"F{i}", *([f"F{i + 1}"] * 2)) for i in range(20)] + [function("F20")]
    assert f"more than {MOST_NODES} nodes" in refusal(tmp_path, with_functions(bomb, "F0"))


@pytest.mark.parametrize(
    ("fields", "finding"),
    [({"ir_version": 0}, "IR version 0"), ({"ir_version": NEWEST_IR + 1}, f"IR version {NEWEST_IR + 1}")],
)
def test_an_unknown_format_version_is_refused(tmp_path: Path, fields: dict[str, object], finding: str) -> None:
    assert finding in refusal(tmp_path, changed(models.add_one(), **fields))


@pytest.mark.parametrize("opset", [1, 6, NEWEST_OPSET + 1])
def test_an_unsupported_opset_is_refused(tmp_path: Path, opset: int) -> None:
    model = onnx.load_model_from_string(models.add_one())
    model.opset_import[0].version = opset
    assert f"the model has opset {opset}, supported are 7 to {NEWEST_OPSET}" in refusal(
        tmp_path, model.SerializeToString()
    )


def test_a_model_without_any_opset_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(models.add_one())
    del model.opset_import[:]
    assert "imports no operator set" in refusal(tmp_path, model.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x80" * 100, models.add_one()[:-7], b"\x3a" * 50_000],
    ids=["empty", "lfs pointer", "garbage", "truncated", "repeated tag"],
)
def test_what_is_no_onnx_model_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "this is no ONNX model" in refusal(tmp_path, content)


def test_a_pointer_of_git_lfs_is_told_as_one(tmp_path: Path) -> None:
    told = refusal(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert "Fetch the file itself: git lfs pull" in told


def test_a_graph_nested_without_end_is_refused_instead_of_exhausting_the_stack(tmp_path: Path) -> None:
    nested = b""
    for _ in range(2_000):  # NodeProto.attribute(5).g(6).node(1), from the inside out
        for tag in (0x0A, 0x32, 0x2A):
            length = len(nested)
            prefix = bytearray([tag])
            while length > 127:
                prefix.append(length & 127 | 128)
                length >>= 7
            prefix.append(length)
            nested = bytes(prefix) + nested
    graph = onnx.ModelProto(ir_version=8).SerializeToString() + b"\x3a" + _varint(len(nested)) + nested
    assert "this is no ONNX model" in refusal(tmp_path, graph)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_external_data_in_the_models_folder_is_embedded_and_hashed(tmp_path: Path) -> None:
    content = models.external_data(tmp_path, "data/weights.bin")
    artifact = load(tmp_path, content)
    (tmp_path / "data/weights.bin").unlink()
    assert np.array_equal(run(artifact, x=np.zeros((1, 4), np.float32))[0], [[0, 1, 2, 3]])
    assert artifact.sha256 != hashlib.sha256(content).hexdigest()


def test_other_weights_beside_the_same_model_are_another_hash(tmp_path: Path) -> None:
    content = models.external_data(tmp_path)
    before = load(tmp_path, content).sha256
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    assert load(tmp_path, content).sha256 != before


def test_a_file_is_read_once_however_its_location_is_spelled(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(models.external_data(tmp_path))
    for dots in range(1, 4):
        again = model.graph.initializer.add()
        again.CopyFrom(model.graph.initializer[0])
        again.name = f"weights{dots}"
        again.external_data[0].value = "./" * dots + "weights.bin"
    read: list[Path] = []

    def counted(folder: Path, path: Path, largest: int) -> tuple[bytes, str]:
        read.append(path)
        return read_hashed(folder, path, largest)

    assert external.beside(model) == ["weights.bin"]
    assert list(external.embed(model, tmp_path, counted)) == ["weights.bin"]
    assert read == [tmp_path / "weights.bin"]
    assert len({each.raw_data for each in model.graph.initializer}) == 1


def test_what_may_have_met_its_bound_of_memory_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "memory" not in refusal(tmp_path, b"no model")
    monkeypatch.setattr("resource.getrlimit", lambda kind: (1 << 20, -1))
    assert "or one that takes too much memory to be read" in refusal(tmp_path, b"no model")


def test_external_data_is_found_beside_a_model_that_is_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/model.onnx").write_bytes(models.external_data(tmp_path / "..data"))
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")
    assert load_artifact(tmp_path, tmp_path / "model.onnx").inputs[0].name == "x"


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "", "a\0b", ".."])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    assert "leaves the model's folder" in refusal(folder, models.external_data(folder, location, write=False))


def test_external_data_through_links_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    content = models.external_data(folder, write=False)
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "weights.bin").symlink_to(tmp_path / "secret")
    assert "leaves the model's folder" in refusal(folder, content)
    (folder / "weights.bin").unlink()
    os.link(tmp_path / "secret", folder / "weights.bin")
    assert "2 hard links" in refusal(folder, content)
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").symlink_to("/dev/zero")
    assert "leaves the model's folder" in refusal(folder, content)


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "17"), ("16", "1"), ("-4", "8"), ("x", "4"), ("0", "-1"), ("9" * 30, "1")]
)
def test_a_range_beyond_the_external_file_is_refused(tmp_path: Path, offset: str, length: str) -> None:
    model = onnx.load_model_from_string(models.external_data(tmp_path))
    for entry in model.graph.initializer[0].external_data:
        entry.value = {"offset": offset, "length": length}.get(entry.key, entry.value)
    assert "lies beyond the file's 16 bytes" in refusal(tmp_path, model.SerializeToString())


def test_external_data_in_an_attribute_is_found_too(tmp_path: Path) -> None:
    constant = onnx.load_model_from_string(models.external_data(tmp_path)).graph.initializer[0]
    node = helper.make_node("Constant", [], ["weights"], value=constant)
    add = helper.make_node("Add", ["x", "weights"], ["y"])
    shape = ["batch", 4]
    model = models.model([node, add], [models.tensor("x", 1, shape)], [models.tensor("y", 1, shape)])
    artifact = load(tmp_path, model.SerializeToString())
    assert np.array_equal(run(artifact, x=np.zeros((1, 4), np.float32))[0], [[0, 1, 2, 3]])
    constant.external_data[0].value = "/etc/hostname"
    node.attribute[0].t.CopyFrom(constant)
    model = models.model([node, add], [models.tensor("x", 1, shape)], [models.tensor("y", 1, shape)])
    assert "leaves the model's folder" in refusal(tmp_path, model.SerializeToString())


def test_tensors_that_share_one_range_cannot_multiply_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "LARGEST_MODEL", 40)
    model = onnx.load_model_from_string(models.external_data(tmp_path))
    for name in ("b", "c"):
        copy = model.graph.initializer.add()
        copy.CopyFrom(model.graph.initializer[0])
        copy.name = name
    assert "have more than 40 bytes together" in refusal(tmp_path, model.SerializeToString())


def test_all_problems_of_a_model_are_told_at_once(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(models.custom_domain())
    model.ir_version = 2
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    assert len(refusals(tmp_path, model.SerializeToString())) == 3
