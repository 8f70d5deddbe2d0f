"""Made-up inputs of a model's first runs, without numpy: 5 MiB and 80 ms of CPU that most workers do without."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Sequence

from modelward_native.backend.engine import Engine
from modelward_native.backend.plain import Plain

Inputs = dict[str, Plain]

# Numbers that are drawn for one input. A larger one repeats them; a prime, so that no axis has that period.
DRAWN = 4093
LARGEST_FP16 = 65504.0
FLOATS = {"FP16": "e", "FP32": "f", "FP64": "d"}  # as struct calls them
SIZES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("UINT16", "INT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("UINT32", "INT32", "FP32"), 4),
    **dict.fromkeys(("UINT64", "INT64", "FP64"), 8),
}


def tensor(datatype: str, shape: Sequence[int], rng: random.Random | None) -> Plain:
    """Numbers around 0, of integers 0 and 1; zeros where rng is None."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return Plain(tuple(shape), [b"0" if rng is None else b"1"] * count)
    size = count * SIZES[datatype]
    if rng is None:
        return Plain(tuple(shape), bytes(size))
    return Plain(tuple(shape), _repeated(_drawn(datatype, min(count, DRAWN), rng), size))


def scaled(given: Plain, datatype: str, magnitude: float) -> Plain:
    """What `tensor` gave with numbers of another size; what counts or chooses (integers, texts) stays."""
    if datatype not in FLOATS or isinstance(given.data, list):
        return given
    each = SIZES[datatype]
    first = given.data[: DRAWN * each]
    numbers = struct.unpack(f"<{len(first) // each}{FLOATS[datatype]}", first)
    larger = [max(-LARGEST_FP16, min(LARGEST_FP16, number * magnitude)) for number in numbers]
    return given._replace(data=_repeated(_packed(datatype, larger), len(given.data)))


def joined(rows: Sequence[Inputs]) -> Inputs:
    """These rows one after the other."""
    together: Inputs = {}
    for name, (shape, data) in rows[0].items():
        parts = [row[name].data for row in rows]
        all_of_it = [item for part in parts for item in part] if isinstance(data, list) else b"".join(parts)  # type: ignore[arg-type]
        together[name] = Plain((sum(row[name].shape[0] for row in rows), *shape[1:]), all_of_it)  # type: ignore[arg-type]
    return together


def each_row(tensor: Plain) -> Iterator[Plain]:
    rows, *shape = tensor.shape
    size = len(tensor.data) // max(rows, 1)
    for i in range(rows):
        yield Plain((1, *shape), tensor.data[i * size : (i + 1) * size])


def with_zeros(engine: Engine, inputs: Inputs, zeros: Sequence[int]) -> Inputs:
    """The same with open dimensions of 0. zeros: their numbers, as Engine.allow_empty takes them."""
    cut, number = {}, 0
    for name, _, shape in engine.inputs:
        sizes = []
        for given, size in zip(shape, inputs[name].shape, strict=True):
            sizes.append(0 if given < 0 and number in zeros else size)
            number += given < 0
        cut[name] = Plain(tuple(sizes), inputs[name].data[:0] if 0 in sizes else inputs[name].data)
    return cut


def _drawn(datatype: str, count: int, rng: random.Random) -> bytes:
    if datatype == "BF16":  # the upper half of a float
        singles = _packed("FP32", [rng.random() for _ in range(count)])
        return b"".join(singles[i + 2 : i + 4] for i in range(0, len(singles), 4))
    if datatype in FLOATS:
        return _packed(datatype, [rng.gauss(0.0, 1.0) for _ in range(count)])
    return b"".join(rng.getrandbits(1).to_bytes(SIZES[datatype], "little") for _ in range(count))


def _packed(datatype: str, numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}{FLOATS[datatype]}", *numbers)


def _repeated(data: bytes, size: int) -> bytes:
    return (data * (size // max(len(data), 1) + 1))[:size]
