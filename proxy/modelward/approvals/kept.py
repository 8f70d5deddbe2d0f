"""Where the book of proposals is kept: on this server's disk, or for all servers of a fleet (approvals/shared)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Protocol

from modelward.approvals.book import Book
from modelward.approvals.store import Store
from modelward.problem import ProblemsFound

log = logging.getLogger("modelward.approvals")

Change = Callable[[Book], Book]
"""Of the book as it is; called again where another server was first. Raises ProblemsFound where it cannot be made."""


class Keeper(Protocol):
    """Used on the supervisor's loop. book: as it is known here. replica: what this server is called in its fleet, empty
    without one."""

    replica: str

    @property
    def is_doubtful(self) -> bool:
        """Whether another server of the fleet has the same name: then it is not said which of them executes what."""

    @property
    def book(self) -> Book: ...

    @property
    def answers(self) -> bool:
        """Whether what has ended can be told to the others now."""

    @property
    def begun(self) -> Collection[int]:
        """What was executing when this server began, as far as it could tell."""

    @property
    def next(self) -> int:
        """The number that a proposal would have."""

    @property
    def next_alone(self) -> int:
        """And one that is made without asking anybody."""

    async def refresh(self) -> None:
        """Looks at what others have changed meanwhile, as far as that can be told. Never fails."""

    async def put(self, change: Change) -> None:
        """Raises ProblemsFound, and then nothing has changed."""

    async def put_alone(self, change: Change) -> None:
        """Of the proposal that it adds: kept here, whatever others say. Raises ProblemsFound where it cannot be."""

    async def keep(self, change: Change) -> bool:
        """Of what has happened already, so that it never fails. Whether it was this server that has told of it."""

    async def save_again(self) -> None:
        """Writes what could not be written."""

    async def gone(self, servers: Collection[str]) -> Collection[str]:
        """Those of which nothing was heard for so long that this server is to look after what they have left."""


class Kept:
    """The book of one server. What has happened counts whether or not it can be written: then it is written later, and
    after a crash the next start finds out again."""

    replica = ""
    is_doubtful = False
    answers = True

    def __init__(self, store: Store) -> None:
        self.book = Book()
        self.begun: Collection[int] = ()
        self.store = store
        self._unsaved = False

    def load(self) -> None:
        """Raises ProblemsFound."""
        self.book = self.store.load()
        self.begun = {each.number for each in self.book.executing}

    @property
    def next(self) -> int:
        return self.book.next

    next_alone = next

    async def refresh(self) -> None:
        return

    async def put(self, change: Change) -> None:
        book = change(self.book)
        self.store.save(book)
        self.book = book

    put_alone = put

    async def keep(self, change: Change) -> bool:
        self.book = change(self.book)
        self._save()
        return True

    async def save_again(self) -> None:
        if self._unsaved:
            self._save()

    async def gone(self, servers: Collection[str]) -> Collection[str]:
        return ()

    def _save(self) -> None:
        try:
            self.store.save(self.book)
            self._unsaved = False
        except ProblemsFound as found:
            if not self._unsaved:
                log.error("%s; it is tried again", found)
            self._unsaved = True
