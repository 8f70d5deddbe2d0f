"""What a server of a fleet needs of its promotions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from modelward.promotion.state import Promotion, State
from modelward.promotion.step import Sides


class Kept(Protocol):
    @property
    def room(self) -> int:
        """Bytes of the state that records of others may take still."""


class Promotions(Protocol):
    """This server's (modelward.promotion.promoter)."""

    state: State

    @property
    def store(self) -> Kept: ...

    @property
    def models(self) -> Callable[[], Collection[str]]:
        """That this server knows of."""

    async def follow(self, model: str, change: Callable[[State], State]) -> None: ...

    def counted(self) -> Mapping[str, tuple[Promotion, Sides]]: ...
