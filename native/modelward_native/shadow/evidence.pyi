from modelward_native.region.region import Region

CALLER_PARTS: int
"""Parts of a keyed hash that callers are counted in: an identity, or without one a peer's address, is in one."""
CHANCE: int
KEY: int

def counted(region: Region, model: str, version: str) -> tuple[bytes, bytes, bytes]:
    """What the requests of a version say of it, over all processes; zeros where no process counts.

    Each is an array of 64-bit counts by how requests got their version (CHANCE: by a draw, KEY: by the hash of a header
    or an identity) and by part of the callers. The first: four counts of requests (answered by the version, failed,
    answered by the fallback in its place, in the sample of answers). The second: of the answered ones, how many took
    how long, by cell of telemetry.histogram. The third: of the sample the scores, by cell (shadow.compare.SCORE_EDGES),
    SKETCH_ANSWER for each answer.
    """

def vacate(region: Region, slot: int) -> None:
    """The process of this slot has gone: it serves no version any more. What it has counted stays."""
