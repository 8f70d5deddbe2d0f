"""Canaries: inputs with the outputs that a version must give for them, before it is given a request.

A file `canary.npz` beside the model holds an array `input:NAME` for each input, whole as a request has it, an array
`output:NAME` for each output that is held to it, and a number `tolerance:NAME` where the default is not meant. The
writer of the file is not trusted: no pickles, and a bound on what it unpacks to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from modelward.atomic_file import replacing
from modelward.lazy import Lazy
from modelward.npz import DAMAGE, read_arrays
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import Read, read_hashed
from modelward.repository.scan import MODEL_FILE
from modelward.suggest import did_you_mean
from modelward.tensors import TensorSpec, has_batch_axis
from modelward_native.backend.arrays import NUMPY
from modelward_native.backend.engine import Engine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
else:
    np, Array = Lazy("numpy"), Any

FILE_MODE = 0o644  # workers of another user may read it
CANARY_FILE = "canary.npz"
LARGEST = 64 * 2**20  # bytes, packed and unpacked
WORST = ", the most at "
ROWS = 16  # that are recorded
# By how much, absolutely and of the expected number, an output may differ: instruction sets round differently.
TOLERANCE = {"FP16": 2e-2, "BF16": 1e-1, "FP32": 1e-3, "FP64": 1e-6}
MEND = "If the model is right, record it again: modelward canary record MODEL --data FILE"

Arrays = dict[str, Array]
Specs = tuple[TensorSpec, ...]


class Canary(Struct, frozen=True):
    """inputs: as Engine.run_once takes them. expected: by output name. tolerances: of each of them, 0 for exactly.
    digest: of the file."""

    file: Path
    inputs: Arrays
    expected: Arrays
    tolerances: Mapping[str, float]
    digest: str = ""


def canary_file(model_file: Path) -> Path:
    """canary.npz beside a model.onnx; STEM.canary.npz beside any other file, which may have neighbours."""
    name = CANARY_FILE if model_file.name == MODEL_FILE else f"{model_file.stem}.{CANARY_FILE}"
    return model_file.with_name(name)


def load(root: Path, file: Path, inputs: Specs, outputs: Specs, read: Read = read_hashed) -> Canary:
    """The canary of a model with these inputs and outputs, from a file in the folder `root`. Raises ProblemsFound."""
    arrays, digest = _read(root, file, read)
    try:
        return replace(_canary(file, arrays, inputs, {spec.name: spec for spec in outputs}), digest=digest)
    except ValueError as error:
        raise ProblemsFound([Problem("the canary does not fit the model", str(file), str(error), MEND)]) from None


def difference(canary: Canary, engine: Engine, run: Callable[[Arrays], Arrays]) -> str | None:
    """What is wrong with the engine's answer to the canary's inputs, which `run` gives them to; None for nothing."""
    try:
        answer = run(canary.inputs)
    except ValueError as error:
        return f"it refuses the canary's inputs: {error}"
    datatypes = {name: datatype for name, datatype, _ in engine.outputs}
    return compared(canary, {name: plain(answer[name], datatypes[name]) for name in canary.expected})


def compared(canary: Canary, answer: Mapping[str, Array]) -> str | None:
    """What differs from what is expected; None for nothing. answer: by output name, BF16 as float32."""
    for name, expected in canary.expected.items():
        if name not in answer:
            return f"it answers without the output '{name}'"
        if why := _difference(name, expected, answer[name], canary.tolerances[name]):
            return why
    return None


def failure(canary: Canary, engine: Engine) -> Problem | None:
    """What keeps an engine that has no requests yet from being loaded."""
    why = difference(canary, engine, engine.run_once)
    if why is None:
        return None
    what = f"model {engine.name} version {engine.version} fails its canary and is not loaded"
    return Problem(what, str(canary.file), why, MEND)


def record(answer: Arrays, outputs: Specs, inputs: Arrays, file: Path, tolerance: float | None = None) -> Canary:
    """Writes what a model with these outputs has answered to `inputs` as its canary, whole or not at all.

    Raises OSError where the file cannot be written.
    """
    datatypes = {spec.name: spec.datatype for spec in outputs}
    tolerances = {
        name: TOLERANCE.get(datatype, 0.0) if tolerance is None or datatype not in TOLERANCE else tolerance
        for name, datatype in datatypes.items()
    }
    expected = {name: plain(array, datatypes[name]) for name, array in answer.items()}
    arrays: dict[str, Any] = {f"input:{name}": _storable(array) for name, array in inputs.items()}
    arrays |= {f"output:{name}": _storable(array) for name, array in expected.items()}
    arrays |= {f"tolerance:{name}": np.float64(value) for name, value in tolerances.items()}
    with replacing(file, FILE_MODE) as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
    return Canary(file, inputs, expected, tolerances)


def request_of(rows: Mapping[str, Array], specs: Specs, most: int = ROWS) -> Arrays:
    """Inputs as a request has them, from rows by input name (modelward.score.load_table): `most` of them, evenly spaced
    over the table, or one where the model takes no batch. Raises ValueError where a value fits no input."""
    batched = has_batch_axis(specs)
    request = {}
    for spec in specs:
        table = rows[spec.name]
        if len(table) == 0:
            raise ValueError("there are no rows")
        if batched:
            chosen = table[np.linspace(0, len(table) - 1, min(most, len(table))).round().astype(np.intp)]
            shape: tuple[int, ...] = (len(chosen), *spec.shape[1:])
        else:
            chosen, shape = table[0], spec.shape
        if shape.count(-1) > 1:  # then the table has the row's own shape, perhaps without a leading 1
            shape = (*shape[: len(shape) - chosen.ndim], *chosen.shape)
        request[spec.name] = _given(spec, chosen.reshape(shape))
    return request


def plain(array: Array, datatype: str) -> Array:
    """An engine's array of a datatype as numbers that compare: BF16 comes as its bits."""
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32) if datatype == "BF16" else array


def _read(root: Path, file: Path, read: Read) -> tuple[Arrays, str]:
    how = "Write it again: modelward canary record MODEL --data FILE"
    data, digest = read(root, file, LARGEST)
    try:
        return read_arrays(data, LARGEST), digest
    except DAMAGE as error:
        why = str(error) if isinstance(error, ValueError) else "it is damaged, or no .npz"
        raise ProblemsFound([Problem("the canary cannot be read", str(file), why, how)]) from None


def _canary(file: Path, arrays: Arrays, inputs: Specs, outputs: Mapping[str, TensorSpec]) -> Canary:
    known = {f"input:{spec.name}" for spec in inputs}
    known |= {f"{kind}:{name}" for name in outputs for kind in ("output", "tolerance")}
    for name in arrays:
        if name not in known:
            near = did_you_mean(name, sorted(known))
            raise ValueError(f"the model has nothing for its array {name!r}{f'; {near}' if near else ''}")
    missing = [spec.name for spec in inputs if f"input:{spec.name}" not in arrays]
    if missing:
        raise ValueError(f"it has no array 'input:{missing[0]}'")
    expected = {name: arrays[f"output:{name}"] for name in outputs if f"output:{name}" in arrays}
    if not expected:
        raise ValueError("it expects no output: it has no array 'output:NAME'")
    given = {spec.name: _given(spec, arrays[f"input:{spec.name}"]) for spec in inputs}
    tolerances = {}
    for name, array in expected.items():
        tolerance = arrays.get(f"tolerance:{name}", np.float64(TOLERANCE.get(outputs[name].datatype, 0.0)))
        if tolerance.shape != () or tolerance.dtype.kind not in "fiu" or not 0 <= float(tolerance) < np.inf:
            raise ValueError(f"'tolerance:{name}' is not one number of at least 0")
        tolerances[name] = float(tolerance)
        texts = array.dtype.kind in "SU"
        if texts != (outputs[name].datatype == "BYTES") or (not texts and array.dtype.kind not in "biuf"):
            raise ValueError(f"'output:{name}' is {array.dtype}, the output is {outputs[name].datatype}")
    return Canary(file, given, expected, tolerances)


def _given(spec: TensorSpec, array: Array) -> Array:
    """An input as the engine takes it."""
    fits = array.ndim == len(spec.shape) and all(w in (-1, n) for w, n in zip(spec.shape, array.shape, strict=True))
    if not fits:
        raise ValueError(f"input {spec.name!r} has shape {list(array.shape)}, the model takes {list(spec.shape)}")
    if spec.datatype == "BYTES":
        if array.dtype.kind not in "SUO":
            raise ValueError(f"input {spec.name!r} is {array.dtype}, the model takes BYTES; save strings as 'S' or 'U'")
        return np.array([_text(item) for item in array.ravel().tolist()], dtype=object).reshape(array.shape)
    if spec.datatype == "BF16" and array.dtype.kind == "f":
        return (array.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    wanted = np.dtype(NUMPY[spec.datatype])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"input {spec.name!r} is {array.dtype}, the model takes {spec.datatype}")
    with np.errstate(invalid="ignore", over="ignore"):
        converted = np.ascontiguousarray(array.astype(wanted))
    if wanted.kind != "f" and not np.array_equal(converted, array):
        raise ValueError(f"input {spec.name!r} holds values that are no {spec.datatype}")
    return converted


def _text(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _storable(array: Array) -> Array:
    """Bytes objects as numpy's own strings: those need no pickles, and lose only zeros at their ends."""
    return array.astype(np.bytes_) if array.dtype == object else array


def _difference(name: str, expected: Array, found: Array, tolerance: float) -> str | None:
    """Where an output differs most, or None."""
    if expected.shape != found.shape:
        shapes = f"{list(found.shape)} where {list(expected.shape)} is expected"
        return f"it answers in another shape: output '{name}' has shape {shapes}"
    if found.dtype == object:
        expected = np.array([_text(item) for item in expected.ravel().tolist()], np.bytes_).reshape(expected.shape)
        apart = np.asarray(expected != found.astype(np.bytes_))
        distance = apart.astype(np.float64)
    elif tolerance == 0.0:
        apart = np.asarray(expected != found)
        if expected.dtype.kind == found.dtype.kind == "f":
            apart &= ~(np.isnan(expected) & np.isnan(found))
        distance = apart.astype(np.float64)
    else:
        ours, theirs = expected.astype(np.float64), found.astype(np.float64)
        apart = ~np.isclose(theirs, ours, rtol=tolerance, atol=tolerance, equal_nan=True)
        with np.errstate(invalid="ignore"):
            distance = np.nan_to_num(np.abs(ours - theirs), nan=np.inf)
    if not apart.any():
        return None
    worst = np.unravel_index(int(np.argmax(np.where(apart, distance, -1.0))), apart.shape)
    at = [int(index) for index in worst]
    limit = f" by more than {tolerance:g}" if tolerance else ""
    return (
        f"it answers otherwise: output '{name}': {int(apart.sum())} of {apart.size} values differ{limit}"
        f"{WORST}{at}: {str(found[worst])[:40]} where {str(expected[worst])[:40]} is expected"
    )


def without_values(why: str) -> str:
    """For the audit trail, which holds nothing of tensors."""
    return why.partition(WORST)[0]
