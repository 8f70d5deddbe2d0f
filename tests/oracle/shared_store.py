"""A slow twin of what the store keeps of shared limits: one cell per limit, moved by what the servers report."""

from dataclasses import dataclass
from math import exp

SECOND = 1_000_000_000


@dataclass
class Cell:
    tat: float  # ns
    demand: float = 0
    at: int = 0


class Store:
    """Times are ns of one clock."""

    def __init__(self) -> None:
        self.cells: dict[object, Cell] = {}

    def exchange(self, key: object, report: tuple[int, float, int], elapsed: int, now: int) -> tuple[int, float]:
        """report: spent over the last `elapsed`, change of demand, the most that may be owed.

        Returns how far the TAT lies ahead, and the demand.
        """
        spent, changed, most = report
        cell = self.cells.setdefault(key, Cell(now - elapsed))
        cell.tat = min(max(cell.tat, now - elapsed) + spent, now + most)
        cell.demand = max(cell.demand * exp((cell.at - now) / SECOND) + changed, 0)
        cell.at = now
        return round(cell.tat - now), cell.demand
