"""Something else than promotions that a fleet shares, as one document."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """name: of its document."""

    name: str

    def look(self) -> None:
        """Notes what was changed here. Called all the time, also while the store is gone."""

    async def reconcile(self, data: bytes | None) -> bytes | None:
        """data: what is in the store. What is to be there; None where it is. Raises Malformed, and nothing changed."""
