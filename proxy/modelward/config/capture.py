"""Capture: which requests of a model are written to Parquet files, what of them, and how long they are kept."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from modelward.config.fields import BeforeValidator, Field, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, KiB, MiB, Size, UnitError

GiB = 1024 * MiB
MOST_FEATURES = 4096

FeatureUse = Literal["keep", "hash", "leave_out"]


def _nothing_is_empty(value: object) -> object:
    return {} if value is None else value


class CaptureRetention(Section):
    """How long captured rows are kept. The oldest files go first, of the identity that has most."""

    days: float = Field(default=30, gt=0, le=36_500, strict=False)
    """Age of the last row of a file from which on it is removed."""
    size: Size = Field(default=10 * GiB, ge=MiB)
    """Bytes that the files of the model may take. Where they would take more, quarantine keeps a quarter."""


class Quarantine(Section):
    """Rows that are suspicious: they are written to a partition of their own, and no export takes them unless it is
    told to. A row is one where any of these holds."""

    flagged: bool = True
    """The anomaly guard flags its request."""
    p_value: float = Field(default=0.001, ge=0, le=1)
    """Its p-value is at most this. 0: rows that were caught before the distance, such as one with a NaN."""
    evidence: float = Field(default=7.0, gt=0, le=1000, strict=False)
    """One signal has at least so many nats of evidence against its identity. 7 nats come by chance once in 1,100."""
    restricted: bool = True
    """Its identity is restricted to any step beyond `observe`."""


class Capture(Section):
    """A sample of the model's requests, with their answers and where they came from, as Parquet files. Needs
    `pip install 'modelward[capture]'`."""

    folder: Path | None = Field(default=None, strict=False)
    """Folder of the files. Absent: `capture` in the server's state folder."""
    share: float = Field(default=0.01, gt=0, le=1)
    """Share of the requests that are captured."""
    features: Annotated[Mapping[str, FeatureUse], BeforeValidator(_nothing_is_empty)] = Field(
        default_factory=dict, max_length=MOST_FEATURES
    )
    """What is written of an input (`age`) or one of its elements (`x[3]`). `keep`: its value, as of all that are not
    named. `hash`: a keyed hash, so that equal values can be told. `leave_out`: nothing. Where a name fits nothing,
    nothing of the model is captured."""
    quarantine: Quarantine = Quarantine.default()
    retention: CaptureRetention = CaptureRetention.default()
    file_size: Size = Field(default=16 * MiB, ge=64 * KiB, le=256 * MiB)
    """Bytes in memory from which on a file is written."""
    file_age: Duration = Field(default=5 * MINUTE, ge=SECOND)
    """Age of its first row from which on a file is written. What a server that is killed has not written is lost."""

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        if find_spec("pyarrow") is None:
            how = "pip install 'modelward[capture]', or leave capture out"
            raise UnitError("capture is set and the package pyarrow is not installed", how)
        return self
