"""Alarms of drift, told once when they are raised and once when they end: in the log and in the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder

if TYPE_CHECKING:
    from modelward.drift.monitor import DriftEvent

log = logging.getLogger("modelward.drift")


WORDS = {"inputs": "inputs have", "outputs": "outputs have", "training": "likeness to the training data has"}


def tell(events: Iterable[DriftEvent], recorder: Recorder) -> None:
    for event in events:
        since = datetime.fromtimestamp(event.since, UTC).isoformat(timespec="seconds")
        where, what = f"model {event.model} version {event.version}", WORDS[event.side]
        if event.raised:
            how = f"modelward drift report --model {event.model} tells more"
            log.warning("%s: its %s changed since %s, first seen in %s; %s", where, what, since, event.first, how)
        elif event.lost:
            log.warning(
                "%s: its %s changed since %s, and that is not judged any more: %s", where, what, since, event.lost
            )
        else:
            log.warning("%s: its %s been as before %s again", where, what, since)
        lost = {"lost": event.lost} if event.lost else {}
        record = automatic(
            "drift.raised" if event.raised else "drift.ended",
            model=event.model,
            version=event.version,
            digest=event.digest,
            figures={"side": event.side, "signal": event.first, "since": since, **lost},
        )
        recorder.note(record)
