"""One model file, checked: its bytes for ONNX Runtime, its hash and its signature. Nothing is executed."""

import hashlib
import resource
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from modelward.fingerprint import Fingerprint, fingerprint
from modelward.models.artifact import Artifact
from modelward.models.cost import unpredictable
from modelward.models.costly import costly
from modelward.models.deadly import deadly
from modelward.models.divisions import guard
from modelward.models.empty import unproven
from modelward.models.external import beside, embed, too_large
from modelward.models.operators import check_operators
from modelward.models.rows.walk import entangled
from modelward.models.signature import read_signature
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_MODEL, Read, canonical, read_hashed
from modelward.scanning.scanner import scan_at_load
from modelward.sealing.header import is_sealed

# ONNX Runtime documents opset 7 as the oldest that it supports, and IR version 3 came with it.
OLDEST_OPSET = 7
MOST_DEADLY = 3  # nodes that are told
OLDEST_IR = 3
NEWEST_OPSET: int = onnx.defs.onnx_opset_version()
NEWEST_IR: int = onnx.IR_VERSION


def load_artifact(root: Path, file: Path, read: Read = read_hashed, *, scan: bool = False) -> Artifact:
    """Reads `file`, which must lie in the folder `root`, once and checks it. Raises ProblemsFound with all problems.

    scan: look for what it should not hold, too, and beside it.
    """
    seen = fingerprint([file])
    return check(root, file, read(root, file, LARGEST_MODEL), seen, read, scan=scan)


def check(
    root: Path, file: Path, content: tuple[bytes, str], seen: Fingerprint, read: Read, *, scan: bool = False
) -> Artifact:
    """The same of what was read. content: bytes and SHA-256. seen: the file's fingerprint from before. read: for files
    that it names."""
    where = str(file)
    files = [file]
    data, digest = content
    own = digest
    findings = scan_at_load(root, file, data) if scan else None
    model = _parse(data, where)
    problems = _check_versions(model, where) + check_operators(model, where)
    inputs, outputs = read_signature(model, where, problems)
    hashes: dict[str, str] = {}
    try:
        # external data belongs to the file that names it: to the folder where the model lies without links
        folder = canonical(file).parent
        files += [folder / location for location in beside(model)]
        seen = seen + fingerprint(files[1:])
        hashes = embed(model, folder, read)
    except ProblemsFound as found:
        problems += found.problems
    if hashes and not problems:
        digest, data = _join(data, hashes, model, where)
    if problems:
        raise ProblemsFound(problems)
    unproven_by, entangled_by, costly_by = unproven(model), entangled(model, inputs), costly(model)
    predicted_by = unpredictable(model)
    data, deadly_by = _guarded(model, data)  # which changes the model: the last
    return Artifact(
        file,
        data,
        digest,
        inputs,
        outputs,
        _opset(model),
        predicted_by,
        unproven_by,
        tuple(files),
        (own, *hashes.values()),
        seen,
        entangled_by,
        costly_by,
        deadly_by,
        findings,
    )


GIT_LFS = b"version https://git-lfs.github.com/spec/"  # how its pointers begin


def _guarded(model: Any, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The model, with nodes guarded that a client's values could end the process at, and in words the first of those
    that cannot be. data: of the model as it is."""
    findings = deadly(model)
    guarded = guard(model, {each.output: each.datatype for each in findings if each.datatype})
    if guarded and model.ByteSize() > LARGEST_MODEL:
        guarded = frozenset()
    left = tuple(each.words for each in findings if each.output not in guarded)
    return model.SerializeToString() if guarded else data, left[:MOST_DEADLY]


def _parse(data: bytes, where: str) -> Any:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ProblemsFound([_no_model(where, data)]) from error
    if not model.HasField("graph") or not model.graph.node:
        raise ProblemsFound([_no_model(where, data)])
    return model


def _no_model(where: str, data: bytes) -> Problem:
    if data.startswith(GIT_LFS):
        why, how = "it is a pointer of Git LFS", "Fetch the file itself: git lfs pull"
        return Problem("this is no ONNX model", where, why, how)
    if is_sealed(data):
        return Problem("the file is sealed", where, how="Do it before the version is sealed, or unseal it first")
    if bound := _scarce_memory():
        what, why = (
            "this is no ONNX model, or one that takes too much memory to be read",
            f"it may take {bound >> 20} MiB",
        )
        return Problem(what, where, why, "Export the model again, or give the container more memory")
    return Problem("this is no ONNX model", where, how="Export the model again")


def _scarce_memory() -> int:
    """What this process may write to where a parser that takes ever larger pieces may have met that; else 0. protobuf
    tells both in the same words."""
    bound, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return bound if bound != resource.RLIM_INFINITY and 2 * _most_resident() >= bound else 0


def _most_resident() -> int:
    """Bytes. That of getrusage is also what the process had that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _check_versions(model: Any, where: str) -> list[Problem]:
    problems = []
    if not OLDEST_IR <= model.ir_version <= NEWEST_IR:
        what = f"the model has IR version {model.ir_version}, supported are {OLDEST_IR} to {NEWEST_IR}"
        problems.append(Problem(what, where, how="Export it for another version of ONNX"))
    if not model.opset_import:
        problems.append(Problem("the model imports no operator set", where, how="Export it with an opset"))
    opset = _opset(model)
    if opset and not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        what = f"the model has opset {opset}, supported are {OLDEST_OPSET} to {NEWEST_OPSET}"
        problems.append(Problem(what, where, how=f"Export it with target_opset={NEWEST_OPSET} or lower"))
    return problems


def _opset(model: Any) -> int:
    return max((imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")), default=0)


def _join(data: bytes, hashes: dict[str, str], model: Any, where: str) -> tuple[str, bytes]:
    """Hash of the model's file and of its data files, and the bytes of all in one."""
    digest = hashlib.sha256(data)
    for location, sha256 in sorted(hashes.items()):
        digest.update(f"{location}\0{sha256}\n".encode())
    if model.ByteSize() > LARGEST_MODEL:
        raise ProblemsFound([too_large(where)])
    return digest.hexdigest(), model.SerializeToString()
