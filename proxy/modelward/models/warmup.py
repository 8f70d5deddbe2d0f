"""The first runs of a model: they fill caches, measure, and find out whether requests may share a run.

A dynamic first axis is no promise that rows are independent: a model that normalises over its batch, or sorts it, has
one too. Whether they are is found in the graph (modelward.models.rows), and tried: rows of several magnitudes are run
together and apart. Where either finds that they are not, the model is run request by request.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Iterator

from modelward.models.made_up import Inputs, each_row, joined, scaled, tensor
from modelward_native.backend.engine import Engine
from modelward_native.backend.plain import Plain, are_close

log = logging.getLogger("modelward.models")

# of the numbers in rows that are run together; a model may tell only the large ones apart from others
MAGNITUDES = (1e-3, 0.0, 1e2, 1e4)
# of dynamic axes, until the model takes one: a sequence may have 1 step, a convolution needs more than its kernel, a
# backbone that halves its picture five times needs 32
SIZES = (1, 8, 32, 224)
MOST_ELEMENTS = 1 << 18  # of a row of a size above 1, over all inputs: a picture of 224 x 224 has 150528
SIZE_SECONDS = 5.0  # after which no larger size is tried
RUNS = 4  # the first allocates, the rest measure
WIDE_ROWS = 32  # a second point of the cost curve
TOLERANCE = {"FP16": 2e-2, "BF16": 1e-1, "FP32": 1e-3, "FP64": 1e-6}


def warm_up(engine: Engine, max_rows: int, entangled: str = "") -> str:
    """Runs the model a few times and settles how it is batched; what there is to say about it, or "".

    max_rows: of a shared run, 1 where batching is off. entangled: why its graph is not shown to keep rows
    apart, or "". Inputs are made up (small numbers, then zeros, of each of `sizes`); a model that refuses all
    of them is served request by request and measured on its first real ones.
    """
    rows = _accepted(engine)
    if rows is None:
        engine.set_batching(False, 1)
        return "it refused made-up inputs: not warmed up, and run request by request"
    for _ in range(RUNS):
        engine.run_plain(rows[0])
        engine.learn_from()
    if not engine.has_batch_axis or max_rows == 1:
        engine.set_batching(False, 1)
        return ""
    if reason := entangled or _entangled(engine, rows, max_rows):
        engine.set_batching(False, 1)
        return f"{reason}: run request by request"
    engine.set_batching(True, max_rows)
    engine.run_plain(joined([rows[0]] * min(WIDE_ROWS, max_rows)))
    engine.learn_from()
    engine.run_plain(rows[0])  # READY tells where a run of this size would happen
    return ""


def _accepted(engine: Engine) -> list[Inputs] | None:
    """Two one-row inputs that the model takes: unequal if it takes those, zeros otherwise."""
    rng = random.Random(0)
    refusal: ValueError | None = None
    began = time.monotonic()
    for size in sizes(engine):
        if time.monotonic() - began > SIZE_SECONDS:
            break
        for made in ([made_up(engine, rng, size), made_up(engine, rng, size)], [made_up(engine, None, size)] * 2):
            try:
                for row in made:
                    engine.run_plain(row)
            except ValueError as error:
                refusal = refusal or error  # larger sizes only say the same of other numbers
            else:
                return made
    log.warning("model %s version %s refused its warm-up: %s", engine.name, engine.version, refusal)
    return None


def sizes(engine: Engine) -> Iterator[int]:
    """Of the dynamic axes beside the rows, in the order in which they are tried."""
    before: list[list[int]] = []
    for size in SIZES:
        shapes = _shapes(engine, size)
        if size == 1 or (shapes != before and sum(map(math.prod, shapes)) <= MOST_ELEMENTS):
            yield size
        before = shapes


def made_up(engine: Engine, rng: random.Random | None, size: int = 1) -> Inputs:
    """One row; zeros where rng is None. size: of its dynamic axes."""
    shapes = _shapes(engine, size)
    return {
        name: tensor(datatype, shape, rng) for (name, datatype, _), shape in zip(engine.inputs, shapes, strict=True)
    }


def _shapes(engine: Engine, size: int) -> list[list[int]]:
    """Of the inputs of one row."""
    rows = 0 if engine.has_batch_axis else -1
    return [
        [given if given >= 0 else 1 if axis == rows else size for axis, given in enumerate(shape)]
        for _, _, shape in engine.inputs
    ]


def _entangled(engine: Engine, rows: list[Inputs], max_rows: int) -> str:
    """Why rows may not share a run, or "". Two are tried, then as many as there are magnitudes."""
    apart = [engine.run_plain(row) for row in rows]
    if reason := _differ(engine, rows, apart):
        return reason
    more: list[tuple[Inputs, Inputs]] = []
    for magnitude in MAGNITUDES:
        row = {name: scaled(rows[0][name], datatype, magnitude) for name, datatype, _ in engine.inputs}
        with contextlib.suppress(ValueError):  # what it refuses by itself is no request
            more.append((row, engine.run_plain(row)))
    chosen = [*more, *zip(rows, apart, strict=True)][:max_rows]
    return _differ(engine, [row for row, _ in chosen], [answer for _, answer in chosen])


def _differ(engine: Engine, rows: list[Inputs], apart: list[Inputs]) -> str:
    """What is wrong with these rows in one run, or "". apart: the answer to each of them."""
    try:
        together = engine.run_plain(joined(rows))
    except ValueError:
        return f"it takes one row and not {len(rows)}"
    for name, datatype, _ in engine.outputs:
        if together[name].shape[:1] != (len(rows),):
            return f"output '{name}' does not have a row for each row of the input"
        for row, alone in zip(each_row(together[name]), apart, strict=True):
            if not _equal(row, alone[name], datatype):
                return f"output '{name}' of a row depends on the rows beside it"
    return ""


def _equal(a: Plain, b: Plain, datatype: str) -> bool:
    if a.shape != b.shape:
        return False
    if datatype not in TOLERANCE or isinstance(a.data, list) or isinstance(b.data, list):
        return a.data == b.data
    return are_close(a.data, b.data, datatype, TOLERANCE[datatype])
