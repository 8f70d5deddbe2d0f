"""External data: weights that a model keeps in files beside it, read safely and put into the model's own bytes.

ONNX Runtime would open those files itself, after the check. Embedded, what was checked and hashed is what is loaded,
and a location cannot point anywhere else. Costs one copy of the weights while the model loads.
"""

from pathlib import Path
from typing import Any

from onnx import TensorProto

from modelward.models.operators import tensors_of
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_MODEL, Read, read_hashed


def beside(model: Any) -> list[str]:
    """Where the model says that its external data lies, as it says it; of several spellings of a file the first."""
    found: dict[Path, str] = {}
    for tensor in tensors_of(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            location = _entries(tensor).get("location", "")
            found.setdefault(Path(location), location)
    return list(found.values())


def embed(model: Any, folder: Path, read: Read = read_hashed) -> dict[str, str]:
    """Moves all external data into `model`; `folder` is the canonical folder that it may come from.

    Returns SHA-256 (hexadecimal) by location, as `beside` gives them, empty where the model is complete in itself. Each
    file is read once, however many spellings its location has. Raises ProblemsFound for a location outside the folder,
    a file that `read` refuses, a range beyond it, or over 2 GiB in all.
    """
    files: dict[Path, bytes] = {}
    hashes: dict[str, str] = {}
    embedded = 0
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = _entries(tensor)
        location = entries.get("location", "")
        if (path := Path(location)) not in files:
            left = LARGEST_MODEL - sum(map(len, files.values()))
            files[path], hashes[location] = read(folder, _inside(folder, location), left)
        data = _range(files[path], entries, folder / location)
        embedded += len(data)
        if embedded > LARGEST_MODEL:
            raise ProblemsFound([too_large(str(folder / location))])
        tensor.raw_data = data
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return hashes


def _entries(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def too_large(where: str) -> Problem:
    return Problem(
        f"model and external data have more than {LARGEST_MODEL} bytes together",
        where,
        "both are checked and loaded as one piece of memory, which protobuf bounds",
        "Use a smaller model, or weights of a smaller datatype",
    )


def _inside(folder: Path, location: str) -> Path:
    path = Path(location)
    if not location or "\0" in location or path.is_absolute() or ".." in path.parts:
        what = f"external data at {location[:200]!r} leaves the model's folder"
        how = "Save the model with its data in one file, or in a file beside it"
        raise ProblemsFound([Problem(what, str(folder), how=how)])
    return folder / path


def _range(data: bytes, entries: dict[str, str], where: Path) -> bytes:
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else len(data) - offset
    except ValueError:
        offset = length = -1
    if not 0 <= offset <= offset + length <= len(data):
        what = f"external data at {entries.get('offset', '0')[:20]} lies beyond the file's {len(data)} bytes"
        raise ProblemsFound([Problem(what, str(where), how="Copy the model together with its data again")])
    return data[offset : offset + length]
