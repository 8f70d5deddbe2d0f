"""One server of a fleet: follows what the others decide, tells what it has counted, and leads where it has the lease.

Promotions are served from this server's own state, and never wait for the store. While the store is gone the server
keeps what it has, takes back alone what does worse, and goes on with nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from secrets import token_hex

from msgspec import structs

from modelward.config.fleet import Fleet
from modelward.config.units import SECOND
from modelward.fleet import evidence, key
from modelward.fleet.gathering import Gathering
from modelward.fleet.namesake import Namesake
from modelward.fleet.note import Note
from modelward.fleet.note import encoded as note_of
from modelward.fleet.once import OnceAMinute
from modelward.fleet.part import Part
from modelward.fleet.promotions import Promotions
from modelward.fleet.record import (
    MODEL,
    Malformed,
    Record,
    Records,
    applied,
    decoded,
    is_newer,
    record_of,
    records,
    tell_of_a_jump,
)
from modelward.fleet.store import LEASE_SECONDS, Document, Store, StoreError, Told
from modelward.fleet.telling import overtaken, tell
from modelward.problem import Problem, ProblemsFound
from modelward.promotion import epochs
from modelward.promotion.state import Event, Promotion, State
from modelward.promotion.step import Sides
from modelward.shadow.pairs import Pairs

log = logging.getLogger("modelward.fleet")

ATTEMPTS_UNTIL_GONE = 2
"""In a row without an answer: one may fail because this server was held up."""
LONGEST_PAUSE_SECONDS = 2.0  # between attempts to reach a store that is gone
HOW = "Mend what the reason says: store, fleet.url or fleet.password_file. A rollback is done here at once"
GROWS = 3
"""Times its size in the store, a record takes in the state at most: that is indented."""
PAIRS_SECONDS = 2.0  # between two looks at shadows, whose sums are long


class Member:
    """Use `start`, then `run`, and `stop` at the end. up: whether the store answers; None before the first attempt."""

    alone = False

    def __init__(
        self,
        settings: Fleet,
        store: Store,
        promotions: Promotions,
        *,
        note: Callable[[str], Note] = lambda identity: Note(identity=identity),
        ready: Callable[[], bool] = lambda: True,
        listed: Collection[str] = (),
    ) -> None:
        """note: what this server says of itself, by its identity in the lease. ready: whether it takes requests.
        listed: models of the repository. Of others that promotions do not know no record is taken."""
        self.settings = settings
        self.replica = settings.called
        self.identity = f"{self.replica}/{token_hex(4)}"
        self.namesake = Namesake(self.replica, self.identity)
        self.store = store
        self._promotions = promotions
        self._note = note
        self._ready = ready
        self.up: bool | None = None
        self.leader = ""
        self.lost, self._why = 0, "no answer in time"
        self.counts: Counter[str] = Counter()
        """ok, failed: attempts to speak with the store. malformed: records and evidence in it that are none."""
        self._revision = ""
        self._documents: dict[str, Document] = {}
        self._records, self._models, self._listed = Records(), frozenset[str](), frozenset(listed)
        self._own: set[str] = set()  # models that were taken back here, until the others know
        self.gathering = Gathering(self.replica, lambda: self.store, self._tell_bad)
        self._pairs: Mapping[evidence.Key, Pairs] = {}
        self._paired = -inf
        self._heard = -inf  # monotonic seconds, as all of these
        self.unanswered = 0
        self._once = OnceAMinute(log)
        self._say = self._once.say
        self._wake, self.speaking = asyncio.Event(), asyncio.Lock()
        self._over = False
        self.pairs: Callable[[int], Mapping[evidence.Key, Pairs]] = lambda most: {}
        """What this server has counted of shadows, of at most so many."""
        self.parts: list[Part] = []
        self.serves = False
        """Set once this server serves: it has something to tell, and may lead."""

    # ---- what promotions ask (modelward.promotion.fleet)

    @property
    def leads(self) -> bool:
        """Not once the lease may be another's."""
        return bool(self.up) and self.leader == self.identity and time.monotonic() - self._heard < LEASE_SECONDS

    def may_advance(self, model: str, promotion: Promotion) -> bool:
        return self.leads and self.gathering.others.knows(model, promotion, time.monotonic())

    @property
    def judge(self) -> str:
        is_here = not self.up or self.leader == self.identity or time.monotonic() - self._heard > LEASE_SECONDS
        return "" if is_here else self.leader.rpartition("/")[0] or self.leader

    def joined(self, state: State) -> State:
        self._read(again=False)
        room = self._promotions.store.room
        for model, record in self._records.of.items():
            after = applied(state, model, record)
            if after != state and (room := room - self._size(model)) >= 0:
                state = after
        return state

    def merged(self, model: str, promotion: Promotion, own: Sides) -> Sides:
        return self.gathering.others.added(model, promotion, own, time.monotonic())

    def others(self, key: evidence.Key, files: str) -> list[Pairs]:
        """What other servers have counted of a shadow with these files."""
        return self.gathering.others.of_shadow(key, files, time.monotonic())

    async def gather(self) -> None:
        counted, now = self._promotions.counted(), time.monotonic()
        knows = all(self.gathering.others.knows(model, of, now) for model, (of, _) in counted.items())
        if self.up and not (self.leads and knows):
            with suppress(StoreError):
                await self.gathering.gather(counted, self._pairs)

    async def agreed(self, model: str, after: Promotion, event: Event, state: State) -> Promotion:
        if not self.up:
            why = f"{self._why}; a promotion moves all servers of the fleet"
            raise ProblemsFound([Problem(f"{self.settings.where} cannot be reached", f"model {model}", why, HOW)])
        known, mine = self._records.of.get(model), self._promotions.state.promotions.get(model)
        document = self._documents.get(MODEL + model)
        if known is not None and is_newer(known.promotion, mine):
            self._wake.set()
            raise overtaken(model, known)
        before = document.epoch if document is not None else 0
        epoch = epochs.following(epochs.latest(after.epoch, mine.epoch if mine is not None else 0))
        epoch = epochs.after(before, epoch)
        began = after.began if epochs.is_epoch(after.began) else epoch
        agreed = structs.replace(after, epoch=epoch, began=began, on=self.replica)
        record = structs.replace(record_of(model, state, self.replica), promotion=agreed, event=event)
        try:
            there = await self._swap(model, before, epoch, record)
        except StoreError as error:
            what = f"{self.settings.where} has not answered, so it is not known whether this was done: {error}"
            raise ProblemsFound(
                [Problem(what, f"model {model}", how="Look at modelward status in a moment")]
            ) from error
        if there is not None:
            raise overtaken(model, there)
        return agreed

    def told(self, model: str) -> None:
        self._own.add(model)
        self._wake.set()

    # ---- its life

    async def start(self) -> None:
        """The first attempt is over when this returns."""
        async with self.speaking:
            await self.attempt()

    async def run(self) -> None:
        """Until `stop`."""
        pause = self.settings.interval / SECOND
        while not self._over:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            async with self.speaking:
                await self.attempt()
            pause = self.settings.interval / SECOND if self.up else min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def stop(self) -> None:
        """The others need not wait until this server is forgotten."""
        self.gathering.stop()
        async with self.speaking:
            if self.up:
                with suppress(StoreError):
                    await self.store.leave(self.replica, self.identity)
            await self.store.close()
            self._over, self.up = True, False

    async def key(self, own: bytes) -> bytes:
        """The one of the fleet (modelward.fleet.key). own: if it is this one, or the store cannot be had."""
        try:
            if self.up and key.NAME not in self._documents:
                there = await self.store.swap(key.NAME, 0, 1, own.hex().encode())
                self._documents[key.NAME] = there or Document(1, own.hex().encode())
            there = self._documents.get(key.NAME)
            return key.decoded(there.data, len(own)) if there is not None else own
        except (StoreError, Malformed) as error:
            self._say("key", logging.ERROR, "the fleet's key cannot be had: callers may get other versions: %s", error)
            return own

    def document(self, name: str) -> Document | None:
        """As the store had it last."""
        return self._documents.get(name)

    async def put(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        """As Store.swap, while `speaking` is held. Raises StoreError."""
        there = await self.store.swap(name, before, epoch, data)
        self._documents[name] = there or Document(epoch, data)
        return there

    @property
    def where(self) -> str:
        return self.settings.where

    def wake(self) -> None:
        self._wake.set()

    async def notes(self) -> Mapping[str, Told]:
        """What each server says of itself. Raises StoreError."""
        return await self.store.notes()

    @property
    def words(self) -> str:
        """For READY and status."""
        where = f"{self.settings.name}, as {self.replica}, through {self.settings.where}"
        if not self.up:
            return f"{where}; it cannot be reached: this server keeps what it has, and decides alone what is taken back"
        return f"{where}; {'leads' if self.leads else 'follows'}{self.namesake.words}"

    async def attempt(self) -> None:
        """While `speaking` is held."""
        if self._over:
            return
        try:
            await self._round()
            if self.up is False:
                log.warning("%s is back: the fleet is followed again", self.settings.where)
            self.up, self.unanswered = True, 0
            self.counts["ok"] += 1
            await self._reconcile()
        except StoreError as error:
            self.counts["failed"] += 1
            self.unanswered += 1
            if self.up and self.unanswered < ATTEMPTS_UNTIL_GONE:
                return
            if self.up is not False:
                self.lost += self.up is True
                what = "this server keeps what it has, takes back alone what does worse, and promotes nothing"
                log.error("%s cannot be reached: %s; %s", self.settings.where, error, what)
            self.up, self.leader, self._why = False, "", str(error)
            for part in self.parts:
                part.look()
        except Exception:  # noqa: BLE001 - it is told, and tried again
            self.counts["failed"] += 1
            self._say("round", logging.ERROR, "the fleet could not be followed", exc_info=True)

    async def _round(self) -> None:
        counted = self._promotions.counted() if self.serves else {}
        loop = asyncio.get_running_loop()
        if self.serves and time.monotonic() - self._paired >= PAIRS_SECONDS:
            self._paired, self._pairs = time.monotonic(), self.pairs(evidence.MOST_SHADOWS)
        any_ = counted or self._pairs
        told = await loop.run_in_executor(None, evidence.encoded, counted, self._pairs) if any_ else b""
        promotions = {model: record.promotion for model, record in self._records.of.items()}
        stepping = [m for m, each in promotions.items() if each is not None and each.phase == "stepping"]
        stepping += self._records.elsewhere
        seen = await self.store.exchange(
            self.replica,
            identity=self.identity,
            note=note_of(self._note(self.identity)),
            evidence=told,
            revision=self._revision if self.up else "",
            names=[key.NAME, *(part.name for part in self.parts), *(MODEL + model for model in self._known())],
            may_lead=self.serves and self._ready() and all(model in counted for model in stepping),
        )
        self._heard = time.monotonic()
        self.namesake.look(seen.said)
        self.leader = seen.leader
        if seen.endless:
            text = "the lease of %.64s had no end in the store: it ends in %g s now, and another server leads then"
            self._say("lease", logging.ERROR, text, seen.leader, LEASE_SECONDS)
        if seen.documents is not None:
            self._documents = {**seen.documents}
            self._revision = seen.revision
        self._read(again=seen.documents is not None)
        if counted and self.leader == self.identity:
            self.gathering.begin(counted, self._pairs)

    def _known(self) -> frozenset[str]:
        return self._listed.union(self._promotions.models())

    def _read(self, *, again: bool) -> None:
        """What is no record is as though it were not there; what this server has stays. again: also of models that were
        known before."""
        if not again and self._known() == self._models:
            return
        self._models = self._known()
        self._records = records(self._documents, self._models)
        self.counts["malformed"] += len(self._records.bad)
        self._records.tell(self._say, leads=self.serves)

    def _size(self, model: str) -> int:
        """Bytes that the state grows by at most, where the record in the store is followed."""
        document = self._documents.get(MODEL + model)
        return GROWS * len(document.data) if document is not None else 0

    def _tell_bad(self, why: str) -> None:
        self.counts["malformed"] += 1
        self._say("evidence", logging.ERROR, "what a server has counted cannot be read: %s", why)

    async def _reconcile(self) -> None:
        """The newer of both sides is obeyed here and stands in the store."""
        state = self._promotions.state
        for model, record in [*self._records.of.items()]:
            if applied(state, model, record) == state:
                continue
            tell_of_a_jump(self._say, model, state.promotions.get(model), record.promotion)
            if self._size(model) > self._promotions.store.room:
                text = "the fleet's record of model %s is not followed: the state would be too long to be read again"
                self._say("room", logging.ERROR, text, model)
            else:
                await self._promotions.follow(model, partial(applied, model=model, record=record))
        state = self._promotions.state
        for model in {**state.promotions, **state.serving}:
            known = self._records.of.get(model)
            if known is None and MODEL + model in self._documents and model not in self._own:
                continue  # it is malformed, perhaps only to this release
            mine = state.promotions.get(model)
            if known is None or is_newer(mine, known.promotion):
                await tell(f"model {model}", self._push(model, state), self._once, self.counts)
        self._own.clear()
        for part in self.parts if self.serves else ():
            await tell(part.name, self._reconcile_part(part), self._once, self.counts)

    async def _reconcile_part(self, part: Part) -> None:
        document = self._documents.get(part.name)
        try:
            wanted = await part.reconcile(document.data if document is not None else None)
        except Malformed as error:
            self.counts["malformed"] += 1
            self._say(part.name, logging.ERROR, "what the store has of %s is none: %s", part.name, error)
            return
        if wanted is not None:
            before = document.epoch if document is not None else 0
            there = await self.store.swap(part.name, before, epochs.following(before), wanted)
            self._documents[part.name] = there or Document(epochs.following(before), wanted)

    async def _push(self, model: str, state: State) -> None:
        document, mine = self._documents.get(MODEL + model), state.promotions.get(model)
        before = document.epoch if document is not None else 0
        epoch, numbered = epochs.after(before, mine.epoch if mine is not None else 0), mine
        record = record_of(model, state, self.replica)
        if mine is not None:
            began = mine.began if epochs.is_epoch(mine.began) else epoch
            numbered = structs.replace(mine, epoch=epoch, began=began, on=mine.on or self.replica)
        record = structs.replace(record, promotion=numbered)
        if await self._swap(model, before, epoch, record) is None and mine is not None and numbered is not None:
            await self._promotions.follow(model, partial(_numbered, model=model, mine=mine, numbered=numbered))

    async def _swap(self, model: str, before: int, epoch: int, record: Record) -> Record | None:
        data, epoch = record.encoded, epoch if epochs.ahead(epoch, before) else epochs.following(before)
        there = await self.store.swap(MODEL + model, before, epoch, data)
        if there is None:
            self._documents[MODEL + model] = Document(epoch, data)
            self._records.of[model] = record
            return None
        self._documents[MODEL + model] = there
        self._revision = ""
        try:
            self._records.of[model] = decoded(there.data)
        except Malformed:
            self._records.of.pop(model, None)
        self._wake.set()
        return self._records.of.get(model) or Record()


def _numbered(state: State, model: str, mine: Promotion, numbered: Promotion) -> State:
    """The same promotion, as the store has it from now on."""
    if state.promotions.get(model) != mine:
        return state
    return structs.replace(state, promotions={**state.promotions, model: numbered})
