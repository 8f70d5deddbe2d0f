"""What workers have died of, and which inputs no worker runs any more because of that. The supervisor keeps it."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.problem import Problem

if TYPE_CHECKING:
    from native.engine import Engine
    from native.notes import Run

log = logging.getLogger("modelward.supervisor")

# signals that a run causes; others come from outside, and say nothing of it
DEADLY = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS)
# different shapes of one version; more, and it is not run at all
MOST_SHAPES = 3
# runs of one version that were under way when another thread may have been to blame
MOST_SUSPICIONS = 2

# loads that are remembered; of more, the oldest are tried again
MOST_LOADS = 256

Version = tuple[str, str, str]  # model, version, digest of the file, or of file and canary
Dims = tuple[int, ...]  # of all inputs, one input after the other
HOW = "Look into the model; `modelward pardon MODEL VERSION` lets it be run again, another file does too"

HOW_LOAD = "Look into the model and its canary; another file is loaded, the same one after a pardon and a reload"


@dataclass(frozen=True)
class Contained:
    """One version, as workers are told. wholly: it is not run at all. loading: it is not loaded, and its canary is not
    run; the digest is that of file and canary."""

    model: str
    version: str
    digest: str
    shapes: tuple[Dims, ...]
    wholly: bool
    loading: bool = False


@dataclass
class _Record:
    shapes: list[Dims] = field(default_factory=list)
    suspicions: Counter[Dims] = field(default_factory=Counter)
    loading: bool = False


class Containment:
    """crashes: deaths by model and version; only ever grow."""

    def __init__(self) -> None:
        self.crashes: Counter[tuple[str, str]] = Counter()
        self._records: dict[Version, _Record] = {}

    @property
    def contained(self) -> tuple[Contained, ...]:
        """All that workers must not run."""
        return tuple(
            Contained(*version, tuple(record.shapes), len(record.shapes) >= MOST_SHAPES, record.loading)
            for version, record in self._records.items()
            if record.shapes or record.loading
        )

    @property
    def inputs(self) -> tuple[Contained, ...]:
        """Without loads, which are told as refused models or failing canaries."""
        return tuple(each for each in self.contained if each.shapes)

    def take(self, code: int, runs: Sequence[Run]) -> bool:
        """A worker has ended with this code while it ran these. Whether workers are to be told what is contained."""
        if -code not in DEADLY:
            return False
        marked = [run for run in runs if run.signal]
        to_blame = marked or (runs if len(runs) == 1 else [])
        for run in to_blame:
            self.crashes[run.name, run.version] += 1
        changed = [self._contain(run, code) for run in to_blame]
        if not to_blame:  # any of them may have been; the next time it is less of a coincidence
            for run in runs:
                record = self._record(run)
                record.suspicions[run.dims] += 1
                if record.suspicions[run.dims] >= MOST_SUSPICIONS:
                    changed.append(self._contain(run, code))
        return any(changed)

    def pardon(self, model: str, version: str | None) -> list[tuple[str, str]]:
        """Versions that may be run again with everything."""
        pardoned = [key for key in self._records if key[0] == model and version in (None, key[1])]
        found = [(name, number) for name, number, digest in pardoned if self._is_contained(name, number, digest)]
        for key in pardoned:
            del self._records[key]
        for name, number in found:
            log.warning("model %s version %s is pardoned: it is run again with all inputs", name, number)
        return found

    def keep(self, served: Iterable[Version]) -> None:
        """Only files that are served are to be remembered, and loads that failed."""
        kept = set(served) | set([key for key, record in self._records.items() if record.loading][-MOST_LOADS:])
        self._records = {key: record for key, record in self._records.items() if key in kept}

    def _is_contained(self, *version: str) -> bool:
        return any((each.model, each.version, each.digest) == version for each in self.contained)

    def _record(self, run: Run) -> _Record:
        return self._records.setdefault((run.name, run.version, run.digest), _Record())

    def _contain(self, run: Run, code: int) -> bool:
        record = self._record(run)
        if run.loading:
            self._contain_load(run, record, code)
            return True
        if run.dims in record.shapes or len(record.shapes) >= MOST_SHAPES:
            return False
        record.shapes.append(run.dims)
        what = f"a worker died of model {run.name} version {run.version} with inputs of shape {words(run.dims)}"
        where, why = f"model {run.name} version {run.version}", signal.Signals(-code).name
        if len(record.shapes) < MOST_SHAPES:
            log.error("%s", Problem(f"{what}, which it is not given again", where, why, HOW))
        else:
            log.error("%s", Problem(f"{what}, the {len(record.shapes)}rd: it is out of service", where, why, HOW))
        return True

    def _contain_load(self, run: Run, record: _Record, code: int) -> None:
        """Workers that load the same at the same time die of it too: one line is enough."""
        if not record.loading:
            record.loading = True
            where = f"model {run.name} version {run.version}"
            what = f"a worker died when it loaded {where} or ran its canary, which is not done again"
            log.error("%s", Problem(what, where, signal.Signals(-code).name, HOW_LOAD))


def deadly(contained: Iterable[Contained]) -> frozenset[Version]:
    """Versions that are not to be loaded, by their load digests."""
    return frozenset((each.model, each.version, each.digest) for each in contained if each.loading)


def words(dims: Dims) -> str:
    """Dimensions of all inputs in a row: which are whose, the signature tells."""
    shown = ", ".join(map(str, dims[:16]))
    return f"[{shown}{', ...' if len(dims) > 16 else ''}]"


def apply(contained: Iterable[Contained], engines: Iterable[Engine]) -> None:
    """Tells engines of a worker; one that is not named is run with everything."""
    known = {(each.model, each.version, each.digest): each for each in contained}
    for engine in engines:
        found = known.get((engine.name, engine.version, engine.digest))
        engine.contain(list(found.shapes) if found else [], bool(found and found.wholly))
