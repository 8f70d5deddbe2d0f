"""Which rows go to quarantine, and why."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modelward.config.capture import Quarantine
from modelward.observe.batch import Batch

OBSERVE = 0  # the mildest step of an identity: nothing is done to it


def suspicious(batch: Batch, settings: Quarantine) -> dict[str, npt.NDArray[np.bool_]]:
    """By reason, the rows that it holds for."""
    requests = batch.requests
    found = {
        "p_value": batch.p_value <= settings.p_value,  # NaN is no p-value
        "evidence": (requests["evidence"].max(axis=1, initial=0) >= settings.evidence)[batch.request],
    }
    if settings.flagged:
        found["flagged"] = (requests["flagged"] != 0)[batch.request]
    if settings.restricted:
        found["restricted"] = (requests["step"] > OBSERVE)[batch.request]
    return found
