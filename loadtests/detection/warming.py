"""Honest traffic before an attack: a guard tells what is rare by what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from loadtests.detection.crowd import Stream
from loadtests.detection.oracle import AT_ONCE, Identity
from loadtests.detection.tenants import Tenants
from loadtests.detection.victims import INPUT
from loadtests.tools import client

ROWS = 380_000  # of which more than the 203,000 are distinct after which all signals count
AT_A_TIME = 3  # models
REFUSED = "RESOURCE_EXHAUSTED"


def warm(port: int, streams: Sequence[Stream], rows: int, told: Callable[[str], None]) -> None:
    """Sends each model so many rows of its tenants, in large requests. told: gets each model's name once it is warm.

    A tenant that the guard refuses has its turn again later: it counts as restricted, and is no reason to stop.
    """

    def one(stream: Stream) -> None:
        made = Tenants(stream.table, len(stream.keys), stream.seed, drift=0.0)
        identities = [Identity(key) for key in stream.keys]
        with client.channel(port) as channel:
            for turn in range(rows // AT_ONCE):
                tenant = turn % len(identities)
                raw = stream.table.raw(made.rows(tenant, AT_ONCE))
                request = client.request(stream.model, {INPUT: raw}).SerializeToString()
                status = client.status(channel, request, metadata=identities[tenant].metadata)
                if status not in ("OK", REFUSED):
                    raise RuntimeError(f"{stream.model} answers honest rows with {status}")
        told(f"{stream.model} is warm")

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        for done in [threads.submit(one, stream) for stream in streams]:
            done.result()
