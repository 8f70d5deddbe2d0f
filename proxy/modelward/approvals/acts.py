"""What the desk and the execution of proposals ask of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelward.approvals.proposal import Ask, Proposal


class Acts(Protocol):
    """What proposals are about: the server, as they see it."""

    async def pinned(self, ask: Ask) -> str:
        """The digest of what the ask is about, as it is now. Raises ProblemsFound where it is not there any more."""

    async def rights(self, ask: Ask) -> Sequence[str]:
        """Which settings that say who may do what it changes. Raises ProblemsFound where it is not what is there."""

    def rules(self, ask: Ask) -> str:
        """A digest of the settings that say who may propose and approve it, and how many must."""

    def was_done(self, proposal: Proposal) -> bool:
        """Whether a proposal that was executing at a crash had been executed."""

    async def do(self, proposal: Proposal) -> None:
        """Does it, on record. Raises ProblemsFound, and then nothing has changed."""
