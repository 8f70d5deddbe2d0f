"""What workers have died of, and what no worker runs any more because of that. The supervisor keeps it.

A death may depend on values, which shapes do not tell. So first the caller of the run is refused, and only what several
callers have died of is refused for all.
"""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from modelward.problem import Problem

if TYPE_CHECKING:
    from modelward_native.backend.engine import Engine
    from modelward_native.backend.notes import Run

log = logging.getLogger("modelward.supervisor")

# signals that a run causes; others come from outside, and say nothing of it
DEADLY = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS)
# different shapes of one caller, or refused for all; more, and the version is not run for the caller, or not at all
MOST_SHAPES = 3
# callers with the same shape; more, and it is refused for all. Callers that are refused wholly, likewise the version
MOST_CALLERS = 3
# callers of one version of which workers died at all: a bound for what workers look through
MOST_REFUSED = 64
# runs of one caller and shape that were under way when another thread may have been to blame
MOST_SUSPICIONS = 2
# loads that are remembered; of more, the oldest are tried again
MOST_LOADS = 256

Version = tuple[str, str, str]  # model, version, digest of the file, or of file and canary
Dims = tuple[int, ...]  # of all inputs, one input after the other; -1: any number of rows
HOW = "Look into the model; `modelward pardon MODEL VERSION` lets it be run again, another file does too"
HOW_LOAD = "Look into the model and its canary; another file is loaded, the same one after a pardon and a reload"


class ContainedCaller(Struct, frozen=True):
    """key: of its budget. wholly: the version is not run for it. deaths: of workers, in runs of its requests alone."""

    key: int
    shapes: tuple[Dims, ...]
    wholly: bool
    deaths: int


class Contained(Struct, frozen=True):
    """One version, as workers are told. shapes: refused for all. wholly: it is not run. alone: runs are not shared.

    loading: it is not loaded, and its canary is not run; the digest is that of file and canary.
    """

    model: str
    version: str
    digest: str
    shapes: tuple[Dims, ...] = ()
    wholly: bool = False
    alone: bool = False
    loading: bool = False
    callers: tuple[ContainedCaller, ...] = ()

    @property
    def count(self) -> int:
        """Shapes that are refused, for all or for a caller."""
        return len(self.shapes) + sum(len(caller.shapes) for caller in self.callers)

    @property
    def refused(self) -> list[tuple[int | None, Dims | None]]:
        """As engines are told."""
        entries: list[tuple[int | None, Dims | None]] = [(None, dims) for dims in self.shapes]
        for caller in self.callers:
            entries += [(caller.key, dims) for dims in ((None,) if caller.wholly else caller.shapes)]
        return entries


class _Record(Struct):
    shapes: list[Dims] = field(default_factory=list)  # refused for all
    callers: dict[int, list[Dims]] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)  # by caller
    suspicions: Counter[tuple[int | None, Dims]] = field(default_factory=Counter)
    alone: bool = False
    loading: bool = False

    @property
    def wholly(self) -> bool:
        refused = sum(len(shapes) >= MOST_SHAPES for shapes in self.callers.values())
        return len(self.shapes) >= MOST_SHAPES or refused >= MOST_CALLERS or len(self.callers) >= MOST_REFUSED


class Containment:
    """crashes: deaths by model and version. deaths: of all workers by cause. Both only ever grow."""

    def __init__(self) -> None:
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.deaths: Counter[str] = Counter()
        self._records: dict[Version, _Record] = {}

    @property
    def contained(self) -> tuple[Contained, ...]:
        """All that workers must not run, or not together."""
        return tuple(
            Contained(
                *version,
                tuple(record.shapes),
                record.wholly,
                record.alone,
                record.loading,
                tuple(
                    ContainedCaller(key, tuple(shapes), len(shapes) >= MOST_SHAPES, record.deaths[key])
                    for key, shapes in record.callers.items()
                ),
            )
            for version, record in self._records.items()
            if record.shapes or record.callers or record.alone or record.loading
        )

    @property
    def inputs(self) -> tuple[Contained, ...]:
        """Without loads, which are told as refused models or failing canaries."""
        return tuple(each for each in self.contained if not each.loading)

    def take(self, code: int, runs: Sequence[Run], names: Mapping[int, str] | None = None) -> bool:
        """A worker has ended with this code while it ran these. Whether workers are to be told what is contained.

        names: of callers that are known, as `caller_name` wants them.
        """
        if -code not in DEADLY:
            if code:
                self.deaths["signal" if code < 0 else "exit"] += 1
            return False
        # the run whose thread got the signal, else those of the session whose pool it came in, else all
        own = [run for run in runs if run.signal and not run.pooled]
        suspects = own or [run for run in runs if run.pooled] or runs
        to_blame = suspects if own or len(suspects) == 1 else []
        self.deaths["run" if to_blame else "unattributed"] += 1
        for run in to_blame:
            self.crashes[run.name, run.version] += 1
        why = signal.Signals(-code).name
        if to_blame:
            changed = [self._blame(run, why, names or {}) for run in to_blame]
        else:  # any of them may have been; the next time it is less of a coincidence
            log.warning("a worker died of %s, and any of %d runs may be to blame: none is, for now", why, len(suspects))
            changed = [self._suspect(run, why, names or {}) for run in suspects]
        return any(changed)

    def pardon(self, model: str, version: str | None) -> list[tuple[str, str]]:
        """Versions that may be run again with everything."""
        pardoned = [key for key in self._records if key[0] == model and version in (None, key[1])]
        found = [(each.model, each.version) for each in self.contained if self._key(each) in pardoned]
        for key in pardoned:
            del self._records[key]
        for name, number in found:
            log.warning("model %s version %s is pardoned: it is run again with all inputs", name, number)
        return found

    def keep(self, served: Iterable[Version]) -> None:
        """Only files that are served are to be remembered, and loads that failed."""
        kept = set(served) | set([key for key, record in self._records.items() if record.loading][-MOST_LOADS:])
        self._records = {key: record for key, record in self._records.items() if key in kept}

    @staticmethod
    def _key(each: Contained) -> Version:
        return each.model, each.version, each.digest

    def _record(self, run: Run) -> _Record:
        return self._records.setdefault((run.name, run.version, run.digest), _Record())

    def _suspect(self, run: Run, why: str, names: Mapping[int, str]) -> bool:
        record, callers = self._record(run), set(run.callers)
        if run.more or len(callers) > 1:
            return self._separate(run, record, why)
        suspicion = next(iter(callers), None), run.dims
        record.suspicions[suspicion] += 1
        return record.suspicions[suspicion] >= MOST_SUSPICIONS and self._blame(run, why, names)

    def _blame(self, run: Run, why: str, names: Mapping[int, str]) -> bool:
        record, callers = self._record(run), set(run.callers)
        if run.loading:
            return self._refuse_load(run, record, why)
        if run.more or len(callers) > 1:
            return self._separate(run, record, why)
        if not callers:  # no client's: a warm-up, a canary
            return self._refuse_for_all(run, record, why, "")
        (caller,) = callers
        record.deaths[caller] += 1
        shapes = record.callers.setdefault(caller, [])
        if run.dims in shapes or len(shapes) >= MOST_SHAPES or record.wholly:
            return False
        shapes.append(run.dims)
        of = f" of {caller_name(caller, names)}"
        if sum(run.dims in each for each in record.callers.values()) == MOST_CALLERS:
            return self._refuse_for_all(run, record, why, of)
        if record.wholly:
            _tell(run, why, of, f"after deaths by {len(record.callers)} callers it is out of service")
        elif len(shapes) >= MOST_SHAPES:
            _tell(run, why, of, f"the {len(shapes)}rd shape of this caller, for which it is not run again")
        else:
            _tell(run, why, of, "which this caller's requests are refused with from now on")
        return True

    def _refuse_for_all(self, run: Run, record: _Record, why: str, of: str) -> bool:
        if run.dims in record.shapes or len(record.shapes) >= MOST_SHAPES:
            return False
        record.shapes.append(run.dims)
        if record.wholly:
            _tell(run, why, of, f"the {len(record.shapes)}rd that is refused for all: it is out of service")
        else:
            _tell(run, why, of, "which it is not given again")
        return True

    def _refuse_load(self, run: Run, record: _Record, why: str) -> bool:
        """Workers that load the same at the same time die of it too: one line is enough."""
        if not record.loading:
            record.loading = True
            where = f"model {run.name} version {run.version}"
            what = f"a worker died when it loaded {where} or ran its canary, which is not done again"
            log.error("%s", Problem(what, where, why, HOW_LOAD))
        return True

    def _separate(self, run: Run, record: _Record, why: str) -> bool:
        """Callers shared the run: the next death is to have one."""
        if record.alone:
            return False
        record.alone = True
        _tell(run, why, " of several callers", "none of which is blamed: requests run alone from now on")
        return True


def _tell(run: Run, why: str, of: str, then: str) -> None:
    where = f"model {run.name} version {run.version}"
    what = f"a worker died of {where} with inputs of shape {words(run.dims)}{of}, {then}"
    log.error("%s", Problem(what, where, why, HOW))


def deadly(contained: Iterable[Contained]) -> frozenset[Version]:
    """Versions that are not to be loaded, by their load digests."""
    return frozenset((each.model, each.version, each.digest) for each in contained if each.loading)


def caller_name(key: int, names: Mapping[int, str]) -> str:
    """names: of known callers, by their budgets as modelward_native.limits.callers has them, the lowest bit set."""
    return names.get(key | 1) or f"an anonymous caller ({key:016x})"


def words(dims: Dims) -> str:
    """Dimensions of all inputs in a row: which are whose, the signature tells."""
    shown = ", ".join("any" if length < 0 else str(length) for length in dims[:16])
    return f"[{shown}{', ...' if len(dims) > 16 else ''}]"


def apply(contained: Iterable[Contained], engines: Iterable[Engine]) -> None:
    """Tells engines of a worker; one that is not named is run with everything."""
    known = {(each.model, each.version, each.digest): each for each in contained}
    for engine in engines:
        found = known.get((engine.name, engine.version, engine.digest), Contained("", "", ""))
        engine.contain(found.refused, found.wholly, found.alone)
