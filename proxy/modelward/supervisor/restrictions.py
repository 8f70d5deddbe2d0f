"""Identities that operators hold at a step: written into the table that all workers read, and let go in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from modelward.admin.operator import NotNow
from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.detect.restriction import ALL, Known, Restriction, callers_of, ruling, where
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion
from modelward.supervisor.doubtful_names import doubt
from modelward.supervisor.learning_progress import progress_of
from modelward.supervisor.timed import Timed
from modelward.supervisor.worker_pool import WorkerPool
from modelward_native.detect.suspicion import Suspicion

log = logging.getLogger("modelward.supervisor")

MOST = 256
LET_GO = "observe"


class Restrictions:
    """They outlive reloads and workers, and end with this process. restrictions: those that hold now, by identity and
    model."""

    def __init__(
        self,
        pool: Callable[[], WorkerPool],
        config: Callable[[], Config],
        trail: Callable[[], Recorder],
        note: Callable[[str, str, str], None],
        names: Callable[[], Mapping[int, Known]],
    ) -> None:
        """pool: raises NotNow where there is none. note: takes what was done, who asked, and about what. names: whose
        records have taken steps, by key."""
        self._timed = Timed[tuple[str, str], Restriction](self._end)
        self.restrictions = self._timed.values
        self._pool = pool
        self._config = config
        self._trail = trail
        self._note = note
        self._names = names
        self._suspicion: Suspicion | None = None
        self._held: dict[int, tuple[str, float]] = {}  # step and until, by the keys of records that are held

    def watched(self) -> list[str]:
        """The models that watch identities, of those that are served."""
        config = self._config()
        return [name for name in self._served() if config.settings(name).detection.is_on]

    def _served(self) -> Collection[str]:
        report = self._pool().report
        return report.versions if report is not None else ()

    def suspicion(self) -> Suspicion | None:
        """Who is how suspicious; None where no model watches identities."""
        if self._suspicion is None and self.watched():
            self._suspicion = Suspicion(self._pool().region, self._config().detection.identities)
        return self._suspicion

    @property
    def is_open(self) -> bool:
        """Some model watches identities, or has."""
        return self._suspicion is not None

    def check(self, restriction: Restriction) -> None:
        """Raises ProblemsFound where it cannot be obeyed, NotNow."""
        self._check_model(restriction.identity, restriction.model)
        key = (restriction.identity, restriction.model)
        if len(self.restrictions) >= MOST and key not in self.restrictions:
            how = "End one first: modelward identities pardon"
            raise ProblemsFound([Problem(f"{MOST} identities are restricted by operators", restriction.where, how=how)])

    def restrict(self, restriction: Restriction) -> tuple[Restriction, ...]:
        """In place of one of the same identity and model. What holds for the identity then. Raises as `check`."""
        self.check(restriction)
        key = (restriction.identity, restriction.model)
        before = self.restrictions.get(key)
        self._timed.put(key, restriction, restriction.until)
        if not self._hold():
            self._timed.drop(key)
            if before is not None:
                self._timed.put(key, before, before.until)
            self._hold()
            what = "the table of identities has no room for it"
            how = "Raise detection.identities and restart the server, or end other restrictions"
            raise ProblemsFound([Problem(what, restriction.where, how=how)])
        until = f"{datetime.fromtimestamp(restriction.until, UTC):%Y-%m-%d %H:%M:%SZ}"
        about = _about(f"{restriction.where}: held at {restriction.step} until {until}", restriction.reason)
        log.warning("%s, asked by %s", about, restriction.by)
        self._note(f"restrict {restriction.step}", restriction.by, _about(restriction.where, restriction.reason))
        return self.of(restriction.identity)

    def doubts(self, identity: str, model: str) -> list[Problem]:
        """Why the name may be a slip; to be asked before it is restricted. Empty where rows of it were seen. Raises
        NotNow."""
        suspicion, now = self.suspicion(), time.monotonic_ns()
        if suspicion is None:
            return []
        names = self._names()
        records = ((key, suspicion.read(key, now)) for key in self._keys(identity, model))
        if any(key in names or (record is not None and record["distinct"]) for key, record in records):
            return []
        seen = dict.fromkeys(each.name for each in reversed([*names.values()]))
        models = [name for name in self.watched() if model in (ALL, name)]
        counted = any(each.phase for each in progress_of(self._pool().region, models, now))
        return [doubt(identity, model, self._config(), seen, counted=counted)]

    def pardon_all(self, model: str, by: str = "", reason: str = "") -> int:
        """Forgets the evidence against all identities, their blocks, and what they have spent today; what operators
        hold goes on. model: ALL, or of one those whose names are known: all that have taken a step lately. How many
        were at a step. Raises ProblemsFound, NotNow."""
        suspicion, now, found = self._remembered("*", model), time.monotonic_ns(), 0
        if model == ALL:
            found = suspicion.pardon_all(now)
        else:
            keys = [key for key, whose in self._names().items() if whose.model == model and key not in self._held]
            found = sum(suspicion.pardon(key, now) for key in keys)
        of = "all models" if model == ALL else f"model {model}"
        log.warning("all identities, %s: pardoned, asked by %s", of, by)
        self._note("pardon", by, _about(f"all identities, {of}", reason))
        return found

    def pardon(self, identity: str, model: str, by: str = "", reason: str = "") -> int:
        """Ends restrictions of an identity, forgets its evidence, its blocks and what it has spent today. model: ALL
        for all of them. How many records there were. Raises ProblemsFound where there was nothing, NotNow."""
        suspicion, now = self._remembered(identity, model), time.monotonic_ns()
        if model != ALL and (identity, ALL) in self.restrictions:
            how = f"modelward identities pardon {identity} ends that for all models"
            raise ProblemsFound([Problem("it is restricted for all models", where(identity, model), how=how)])
        dropped = [key for key in self.restrictions if key[0] == identity and model in (ALL, key[1])]
        found = 0
        for key in self._keys(identity, model, self._served()):
            found += suspicion.pardon(key, now)
            self._held.pop(key, None)
        if not found and not dropped:
            how = suggestion(identity, [name for name, _ in self.restrictions]) or "modelward identities shows them"
            raise ProblemsFound([Problem("nothing is known of this identity", where(identity, model), how=how)])
        for ended in dropped:
            self._timed.drop(ended)
        self._hold()
        log.warning("%s: pardoned, asked by %s", where(identity, model), by)
        self._note("pardon", by, _about(where(identity, model), reason))
        return found

    def of(self, identity: str) -> tuple[Restriction, ...]:
        return tuple(each for each in self.restrictions.values() if each.identity == identity)

    def follow(self) -> None:
        """After a reload: what holds for all models holds for new ones too."""
        if not self.restrictions:
            return
        try:
            if not self._hold():
                log.error("not every identity that operators restrict is: the table of identities has no room for it")
        except NotNow:  # it drains: its workers end
            return

    def known(self) -> Mapping[int, Known]:
        """Whose records are held, by key."""
        return {key: whose for each in self._ordered() for key, whose in self._keys(each.identity, each.model).items()}

    def _check_model(self, identity: str, model: str) -> None:
        watched = self.watched()
        self._check_served(identity, model)
        if not watched or (model != ALL and model not in watched):
            name = "NAME" if model == ALL else model
            how = f"Set models.{name}.detection: {{mode: observe}}"
            raise ProblemsFound([Problem("identities are not watched", where(identity, model), how=how)])

    def _check_served(self, identity: str, model: str) -> None:
        if model != ALL and model not in (served := self._served()):
            how = suggestion(model, served) or "modelward status shows the models"
            raise ProblemsFound([Problem("there is no such model", where(identity, model), how=how)])

    def _remembered(self, identity: str, model: str) -> Suspicion:
        """Who is remembered, by models that watch identities or have. Raises ProblemsFound where none has, NotNow."""
        self._check_served(identity, model)
        if (suspicion := self.suspicion()) is None:
            why = "no model has watched identities since the server began"
            raise ProblemsFound([Problem("there is nothing to pardon", where(identity, model), why)])
        return suspicion

    def _ordered(self) -> Iterable[Restriction]:
        """Those of all models first: `ruling` takes them so."""
        return sorted(self.restrictions.values(), key=lambda each: each.model != ALL)

    def _keys(self, identity: str, model: str, among: Iterable[str] | None = None) -> dict[int, Known]:
        """Of the records that an identity may have, with what each is about. among: models; None: those that watch."""
        suspicion, prefix = self.suspicion(), self._config().limits.ipv6.prefix
        if suspicion is None:
            return {}
        models = [name for name in (self.watched() if among is None else among) if model in (ALL, name)]
        callers = [*callers_of(identity, prefix)]
        return {suspicion.key(text, name): Known(kind, identity, name) for name in models for kind, text in callers}

    def _hold(self) -> bool:
        """Makes the table say what the restrictions do. False: it has no room for one."""
        suspicion, now = self.suspicion(), time.monotonic_ns()
        if suspicion is None:
            return False
        wanted: dict[int, Restriction] = {}
        for each in self._ordered():
            for key in self._keys(each.identity, each.model):
                wanted[key] = ruling(wanted.get(key), each)
        since_1970 = time.time()
        for key in [*self._held]:
            if key not in wanted:
                suspicion.pin(key, LET_GO, now)
                del self._held[key]
        fits = True
        for key, counts in wanted.items():
            step, until = counts.step, counts.until
            if self._held.get(key) == (step, until):
                continue
            if suspicion.pin(key, step, now, now + int((until - since_1970) * 1e9)):
                self._held[key] = step, until
            else:
                fits = False
        return fits

    def _end(self, restriction: Restriction) -> None:
        """Its time is over."""
        log.info("%s: not held by an operator any more: the time is over", restriction.where)
        about = f"identity {restriction.identity}"
        self._trail().note(automatic("identity.released", model=restriction.model, object=about))
        try:
            self._hold()
        except NotNow:  # it drains: its workers end
            return


def _about(where_: str, reason: str) -> str:
    return where_ + (f": {reason}" if reason else "")
