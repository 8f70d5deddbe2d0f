"""Honest traffic before an attack: a guard tells what is rare by what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from loadtests.detection.crowd import Stream
from loadtests.detection.oracle import AT_ONCE, Identity
from loadtests.detection.tenants import Tenants
from loadtests.detection.victims import INPUT
from loadtests.tools import client
from loadtests.tools.server import Server

ARMED = "model {}: near duplicates and walks along a boundary are evidence"  # the server's line when all signals count
MOST_ROWS = 3_000_000  # 203,000 distinct ones would do, but what is learnt is looked at once a second
LOOK = 20  # requests
AT_A_TIME = 3  # models
REFUSED = "RESOURCE_EXHAUSTED"


def warm(server: Server, streams: Sequence[Stream], told: Callable[[str], None], rows: int | None = None) -> None:
    """Sends each model rows of its tenants, in large requests, until the server says that all its signals count.

    told: gets each model's name once it is warm. rows: so many in place of that. A tenant that the guard refuses has
    its turn again later: it counts as restricted, and is no reason to stop. Raises RuntimeError.
    """

    def one(stream: Stream) -> None:
        made = Tenants(stream.table, len(stream.keys), stream.seed, drift=0.0)
        identities = [Identity(key) for key in stream.keys]
        with client.channel(server.grpc) as channel:
            for turn in range((rows or MOST_ROWS) // AT_ONCE):
                if rows is None and turn % LOOK == 0 and ARMED.format(stream.model) in server.process.output():
                    break
                tenant = turn % len(identities)
                raw = stream.table.raw(made.rows(tenant, AT_ONCE))
                request = client.request(stream.model, {INPUT: raw}).SerializeToString()
                status = client.status(channel, request, metadata=identities[tenant].metadata)
                if status not in ("OK", REFUSED):
                    raise RuntimeError(f"{stream.model} answers honest rows with {status}")
            else:
                if rows is None:
                    raise RuntimeError(f"{stream.model} has not learnt enough from {MOST_ROWS:,} rows")
        told(f"{stream.model} is warm")

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        for done in [threads.submit(one, stream) for stream in streams]:
            done.result()
