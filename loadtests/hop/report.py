"""What the race of one hop promises, and whether it is kept."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.race.ours import EVERYTHING
from loadtests.race.rounds import Lane
from loadtests.tools.h2load import Shape
from loadtests.tools.results import Bar

BUSY, MANY_CONNECTIONS, ALONE = Shape(8, 16), Shape(64, 1), Shape(1, 1)
HOP_US = 7.5
TIMES_LESS = 4.0
TLS_TIMES_LESS = 3.5
OURS = "modelward"
PROXIES = ("HAProxy", "nginx", "Envoy")
TLS_PROXIES = ("HAProxy", "Envoy")

METHOD = """\
CPU time per request of each proxy's whole process tree (threads' schedstat), on loopback, load by h2load: medians of
alternating rounds after a warm-up round, all proxies running throughout. Behind all of them is one nghttpd that serves
one and the same answer from a file; its own CPU time is not counted. The request is the same 156-byte ModelInferRequest
of one row. A gRPC client checks an answer of each before and after; the bytes of all answers are counted in
between. The ratio is to the first line; req/s and latency are what the client saw, on the cores that client, proxy and
upstream share: they say little about the proxy. With one stream at a time a round costs two or three times as much
where the scheduler lets the three processes sleep and wake across cores as where it does not: the spread shows both."""


def bars(lanes: Sequence[Lane], *, tls: bool = False) -> list[Bar]:
    """The promises that can be judged: of those whose contestants and shapes of load were in the race."""
    found = []
    proxies, times_less = (TLS_PROXIES, TLS_TIMES_LESS) if tls else (PROXIES, TIMES_LESS)
    for shape in (BUSY, MANY_CONNECTIONS, ALONE):
        medians = {lane.contestant.name: lane.median(shape).cpu_us for lane in lanes if shape in lane.samples}
        if OURS not in medians:
            continue
        ours = medians[OURS]
        if shape == BUSY and not tls:
            found.append(Bar(f"{shape}, every guard on", ours, HOP_US, "us/request"))
            if EVERYTHING.name in medians:
                found.append(Bar(f"{shape}, identities and budgets", medians[EVERYTHING.name], HOP_US, "us/request"))
        others = {name: medians[name] for name in proxies if name in medians}
        if others:
            best = min(others, key=lambda name: others[name])
            bound = times_less if shape == BUSY else 1.0
            found.append(
                Bar(f"{shape}, less than the best ({best})", others[best] / ours, bound, "times", at_most=False)
            )
            if shape == BUSY and not tls and EVERYTHING.name in medians:
                times = others[best] / medians[EVERYTHING.name]
                found.append(
                    Bar(f"{shape}, identities and budgets, less than the best", times, bound, "times", at_most=False)
                )
    return found
