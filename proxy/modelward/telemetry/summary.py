"""What is refused, and not mirrored to shadows, summed up in the log every few seconds."""

from __future__ import annotations

import asyncio

from modelward.telemetry.refusals import SECONDS, RefusalLog
from modelward.telemetry.shadow_drops import DropLog
from modelward_native.region.region import Region
from modelward_native.shadow import shadows
from modelward_native.telemetry import stats


async def sum_up(region: Region) -> None:
    """For ever; of all processes of the region."""
    refusals, drops = RefusalLog(), DropLog()
    while True:
        refusals.take(stats.models(region))
        drops.take(shadows.totals(region))
        await asyncio.sleep(SECONDS)
