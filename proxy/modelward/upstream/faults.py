"""What endpoints of upstreams get wrong, told in the log: failed requests, silences, breakers that open and close."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import unquote

from msgspec import Struct

from modelward.plural import counted
from modelward.status import Code
from modelward.telemetry.logs import shown
from modelward.telemetry.paced import Paced
from modelward_native.backend.pool import Endpoint

log = logging.getLogger("modelward.upstream")

BREAKER = {
    "open": "is taken out by its breaker: too many requests failed",
    "half-open": "is tried with one request: its breaker is half-open",
    "closed": "works again: its breaker is closed",
}


class _Seen(Struct):
    """Of one endpoint, when it was last looked at. status and text: of its last failure."""

    ejections: int = 0
    unanswered: int = 0
    state: str = "closed"
    status: int = -1
    text: str = ""


class FaultLog:
    """Reads each endpoint once a second. What is told in its words is cut, and control characters are escaped."""

    def __init__(self) -> None:
        self._paced = Paced()
        self._seen: dict[Endpoint, _Seen] = {}

    def take(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """now: seconds of a monotonic clock."""
        self._seen = {endpoint: self._seen.get(endpoint) or _Seen() for endpoint in endpoints}
        for endpoint, seen in self._seen.items():
            self._failures(endpoint, seen, now)
            self._breaker(endpoint, seen, now)
            self._silences(endpoint, seen, now)

    def _failures(self, endpoint: Endpoint, seen: _Seen, now: float) -> None:
        number = 0
        if (found := endpoint.take_failures()) is not None:
            number, seen.status, text = found
            seen.text = shown(unquote(text))

        def tell(total: int) -> None:
            code = Code(seen.status).name if seen.status > 0 else ""
            _say(
                logging.WARNING,
                endpoint,
                f"{counted(total, 'failed request')}, the last with {code}{': ' if code else ''}{seen.text}",
                failures=total,
                code=code,
                text=seen.text,
            )

        self._paced.add((endpoint.address, "failures"), number, now, tell)

    def _breaker(self, endpoint: Endpoint, seen: _Seen, now: float) -> None:
        ejections, state = endpoint.ejections - seen.ejections, endpoint.breaker_state
        if state != seen.state:
            level = logging.WARNING if state == "open" else logging.INFO
            _say(level, endpoint, BREAKER[state], breaker=state, ejections=endpoint.ejections)
            ejections -= state == "open"
        seen.ejections, seen.state = endpoint.ejections, state

        def tell(total: int) -> None:
            _say(
                logging.WARNING,
                endpoint,
                f"was taken out by its breaker again, {counted(total, 'time')}",
                ejections=total,
            )

        self._paced.add((endpoint.address, "ejections"), max(ejections, 0), now, tell)

    def _silences(self, endpoint: Endpoint, seen: _Seen, now: float) -> None:
        def tell(total: int) -> None:
            times = counted(total, "time")
            text = f"gave no sign of life while requests waited, and did not answer a PING, {times}"
            _say(logging.WARNING, endpoint, text, silences=total)

        # a pause that ends with the answer to our PING is no fault: modelward_upstream_silences_total has it
        self._paced.add((endpoint.address, "silences"), endpoint.unanswered - seen.unanswered, now, tell)
        seen.unanswered = endpoint.unanswered


def _say(level: int, endpoint: Endpoint, words: str, **fields: object) -> None:
    log.log(
        level, "upstream %s: %s", endpoint.address, words, extra={"fields": {"endpoint": endpoint.address, **fields}}
    )
