"""What a model bears of dimensions that are 0, found out in a child process, since ONNX Runtime may die of it.

Only of models whose operators are not all known to bear them (models.empty). The child opens the model once and
forks for every run. It sets open dimensions to 0, each alone and several together, and all others to the
first size that the model takes, as its warm-up does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Self

from msgspec import Struct
from msgspec.structs import asdict

from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.child import Bounds, ChildEnded, ending, in_child
from modelward.models.artifact import Artifact
from modelward.models.made_up import with_zeros
from modelward.models.runtime import runtime
from modelward.models.warmup import made_up, sizes
from modelward.no_process import NoProcess, no_process
from modelward.problem import Problem, ProblemsFound
from modelward_native.backend.engine import Engine

log = logging.getLogger("modelward.models")

SECONDS = 30.0  # of one child
RUN_SECONDS = 5  # of one run in it
MOST_RUNS = 48
MEMORY = 2 << 30  # bytes, beside four times the model's

FOLDER = "trials"  # in the state folder: a file per model file and release of ONNX Runtime
LARGEST_FINDINGS = 1 << 20
MOST_KEPT = 1024

ERROR = "it answered with an error"
SLOW = f"it took longer than {RUN_SECONDS} s"

Dims = tuple[int, ...]  # numbers of open dimensions, as Engine.bear takes them
Symbols = tuple[tuple[str | None, ...], ...]  # of each input's dimensions


class Findings(Struct, frozen=True):
    """borne: sets of open dimensions that may be 0 together. refused: what became of the others, in words.

    dies: how the runtime died of a request without any zero, or "".
    """

    borne: tuple[Dims, ...]
    refused: tuple[str, ...] = ()
    dies: str = ""


class Trials:
    """Findings by model file, kept in memory and in `folder`; where that cannot be written, in memory alone.

    seconds: of one child, at most SECONDS.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self._folder = folder / FOLDER
        self._seconds = min(seconds, SECONDS)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "trial")
        self._found: dict[str, Future[Findings]] = {}
        self._opened: set[str] = set()

    def begin(self, artifacts: Sequence[Artifact]) -> None:
        """Starts what will be asked for, as many children at a time as there are cores. Artifacts hold their data."""
        for artifact in artifacts:
            if _is_needed(artifact) and artifact.sha256 not in self._found and artifact.data:
                self._found[artifact.sha256] = self._pool.submit(self._find, artifact)

    def tell(self, engine: Engine, artifact: Artifact) -> None:
        """Tells the engine what it bears. Waits for the child. Raises ProblemsFound for what the runtime cannot run."""
        if not _is_needed(artifact):
            engine.allow_empty(None)
            return
        if problems := self.problems(artifact):
            raise ProblemsFound(problems)
        findings = self._found[artifact.sha256].result()
        engine.allow_empty(findings.borne)
        if findings.refused:
            said = "; ".join(findings.refused[:8]) + ("; ..." if len(findings.refused) > 8 else "")
            name, version = engine.name, engine.version
            log.info("model %s version %s takes no dimension of 0 where it failed on one: %s", name, version, said)

    def problems(self, artifact: Artifact) -> list[Problem]:
        """That the runtime dies of the model, whatever it is asked. Waits for the child."""
        if not _is_needed(artifact):
            return []
        self.begin([artifact])
        dies = self._found[artifact.sha256].result().dies
        how = "Export it in another way, or for another version of the runtime"
        what = "ONNX Runtime does not survive a request to the model"
        return [Problem(what, str(artifact.file), dies, how)] if dies else []

    def was_opened(self, artifact: Artifact) -> bool:
        """Whether a child process has opened the file, now or in an earlier process of this server."""
        return artifact.sha256 in self._opened or self._note(artifact).exists()

    def note_opened(self, artifact: Artifact) -> None:
        self._opened.add(artifact.sha256)
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if sum(1 for _ in self._folder.iterdir()) < MOST_KEPT:
                self._note(artifact).touch(mode=0o600)

    def _note(self, artifact: Artifact) -> Path:
        return self._folder / f"{artifact.sha256}-{runtime()}.opened"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Children under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _find(self, artifact: Artifact) -> Findings:
        file = self._folder / f"{artifact.sha256}-{runtime()}.json"
        kept = _read(file)
        if kept is not None:
            return kept
        symbols = tuple(spec.symbols for spec in artifact.inputs)
        bounds = Bounds(self._seconds, MEMORY + 4 * len(artifact.data))
        try:
            findings = in_child(bounds, find, artifact.data, symbols)
        except (ChildEnded, NoProcess) as ended:
            return Findings((), (f"it could not be tried: {ended}",))
        except ValueError:  # it cannot be opened: opening it says why
            return Findings(())
        if not findings.dies and SLOW not in str(findings.refused):  # which may have been the machine's fault
            _write(file, findings)
        return findings


def _is_needed(artifact: Artifact) -> bool:
    return bool(artifact.unproven) and any(-1 in spec.shape for spec in artifact.inputs)


# ---- in the child


def find(data: bytes, symbols: Symbols) -> Findings:
    """Opens the model and runs it, each time in a fork of this process, which must have no other threads."""
    runtime()
    engine = Engine("trial", "1", data)
    ended, size = _base(engine)
    if ended:
        return Findings((), (ended,), "" if ended == SLOW else ended)
    names = [f"{name}[{k}]" for name, _, shape in engine.inputs for k, size in enumerate(shape) if size < 0]
    borne: list[Dims] = []
    refused: list[str] = []
    for zeros in plan(engine, symbols):
        what = _forked(lambda: engine.run_plain(with_zeros(engine, made_up(engine, None, size), zeros)))  # noqa: B023 - it is called at once
        if what is None:
            borne.append(zeros)
            continue
        refused.append(f"{', '.join(names[n] for n in zeros[:4])}: {what}")
        if what == SLOW:  # one that never returns is enough
            break
    return Findings(tuple(borne), tuple(refused))


def _base(engine: Engine) -> tuple[str, int]:
    """What became of runs as its warm-up makes them, or "", and the size that it takes, 1 where it takes none.

    An error is nothing that it did not survive.
    """
    rng = random.Random(0)
    for size in sizes(engine):
        ends = [_forked(partial(engine.run_plain, made_up(engine, each, size))) for each in (rng, None)]
        for ended in ends:
            if ended is not None and ended != ERROR:
                return ended, size
        if None in ends:
            return "", size
    return "", 1


def plan(engine: Engine, symbols: Symbols) -> list[Dims]:
    """Sets of open dimensions to be tried: each alone, all, and smaller sets as far as MOST_RUNS goes.

    Dimensions of one symbol are one, as are the rows of all inputs.
    """
    groups: dict[object, list[int]] = {}
    number = 0
    for i, (_, _, shape) in enumerate(engine.inputs):
        for k, size in enumerate(shape):
            if size >= 0:
                continue
            symbol = symbols[i][k] if i < len(symbols) and k < len(symbols[i]) else None
            key: object = "rows" if k == 0 and engine.has_batch_axis else (symbol,) if symbol else number
            groups.setdefault(key, []).append(number)
            number += 1
    parts = [tuple(group) for group in groups.values()]
    chosen = [*combinations(parts, 1), tuple(parts)]
    for size in range(2, len(parts)):
        chosen += combinations(parts, size) if len(chosen) < MOST_RUNS else ()
    sets = [tuple(sorted(n for part in parts for n in part)) for parts in chosen[: max(MOST_RUNS, len(parts) + 1)]]
    return list(dict.fromkeys(sets))


def _forked(run: Callable[[], object]) -> str | None:
    """None where it returned; else what became of it. Raises NoProcess."""
    try:
        pid = os.fork()
    except OSError as error:
        raise no_process(error) from None
    if pid == 0:
        signal.alarm(RUN_SECONDS)
        try:
            run()
        except BaseException:  # noqa: BLE001 - nothing may return from here
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return None
    if code == -signal.SIGALRM:
        return SLOW
    return ERROR if code > 0 else ending(code)


# ---- what is kept


def _read(file: Path) -> Findings | None:
    try:
        kept = json.loads(read_regular(file, LARGEST_FINDINGS))
        borne = tuple(tuple(map(int, zeros)) for zeros in kept["borne"])
        return Findings(borne, tuple(map(str, kept["refused"])), str(kept["dies"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, findings: Findings) -> None:
    """Whole or not at all: workers that start together may all write it. What cannot be written is tried again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(1 for _ in file.parent.iterdir()) >= MOST_KEPT:
            return
        replace_file(file, json.dumps(asdict(findings)))
    except OSError as error:
        log.debug("findings of a trial cannot be kept: %s", error)
