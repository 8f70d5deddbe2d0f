"""Metrics of the fleet that a server belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def fleet_families(snapshot: Snapshot) -> Iterator[Family]:
    if (fleet := snapshot.fleet) is None:
        return
    exchanges = Family(
        "modelward_fleet_exchanges", "counter", "Exchanges with the fleet's store, by result", ("result",)
    )
    malformed = Family(
        "modelward_fleet_malformed", "counter", "Records and counts in the fleet's store that could not be read"
    )
    held = Family("modelward_fleet_not_followed", "gauge", "Models whose promotion this server does not follow")
    yield Family("modelward_fleet_up", "gauge", "1 while the fleet's store answers", rows=[((), fleet.up)])
    yield Family("modelward_fleet_leads", "gauge", "1 on the server that judges promotions", rows=[((), fleet.leads)])
    for result, count in fleet.exchanges.items():
        exchanges.add((result,), count)
    malformed.add((), fleet.malformed)
    held.add((), fleet.held)
    yield from (exchanges, malformed, held)
    taken = "1 while another server of the fleet has the name of this one"
    yield Family("modelward_fleet_name_taken", "gauge", taken, rows=[((), fleet.name_taken)])
