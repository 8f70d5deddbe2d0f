"""Model files, read here and checked by a process of its own (modelward.models.reader_process).

So a worker has neither onnx nor numpy, and goes on where that process dies of a file, or never answers: the version is
refused then, and the next file is another process's.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from modelward import container_memory
from modelward.child import ending, environment
from modelward.fingerprint import fingerprint
from modelward.integrity.version_files import VersionFiles
from modelward.models.artifact import Artifact
from modelward.models.inventory import Load
from modelward.models.reading import Facts, Gone, Late, NoAnswer, Wire, artifact_of, problems_of, told, well_formed
from modelward.no_process import no_process
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_MODEL, canonical
from modelward.repository.scan import Version

START_SECONDS = 10.0  # until it has imported what it needs, beside what a file may take
GONE_SECONDS = 1.0  # until the kernel tells how it has ended
COMMAND = (sys.executable, "-P", "-m", "modelward.models")
SCARCE = 2 << 30  # bytes: what checking a file may take where nothing bounds it
MOST_FILES = 1 << 16  # that a model may name
HOW = "Look into the model, or export it again; if it is only large, raise load_timeout, or give more memory"

log = logging.getLogger("modelward.models")


class Reader:
    """given: to a process that is there already, for the first files. command: starts another, which talks over its
    stdin."""

    def __init__(self, given: socket.socket | None = None, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._wire = None if given is None else Wire(given)
        self._has_greeted = self._is_asked = False
        self._seconds = START_SECONDS
        self._kills = 0
        self._room: int | None = None  # as modelward.container_memory told them when it was asked

    @contextmanager
    def reading(self, seconds: float) -> Iterator[Load]:
        """What loads the versions of one inventory, in one thread at a time: the process ends with it. seconds: that
        one file may take."""
        self._seconds = START_SECONDS + seconds
        try:
            yield self._load
        finally:
            self._end()

    def _load(self, name: str, version: Version, files: VersionFiles, scan: bool) -> Artifact:
        """Raises ProblemsFound."""
        if self._wire is None:
            self._start()
        file = version.file
        seen = fingerprint([file])
        data, digest = files.read(files.root, file, LARGEST_MODEL)
        asked = {
            "root": str(files.root),
            "file": str(file),
            "sha256": digest,
            "fingerprint": seen,
            "scan": scan,
            "where": f"model {name} version {version.number}",
            "seconds": math.ceil(self._seconds) + 1,
        }
        try:
            answer, changed = self._ask(asked, data, files)
            if "problems" in answer:
                raise ProblemsFound(problems_of(answer["problems"]))
            with well_formed():
                artifact = artifact_of(answer["artifact"], file, data if answer["same"] else changed)
        except NoAnswer as error:
            why = self._end(error)
            log.error("model %s version %s is not loaded: %s", name, version.number, why)
            what = "the process that checks model files gives no answer, and the model is not loaded"
            raise ProblemsFound([Problem(what, str(file), why, HOW)]) from None
        finally:
            if self._is_asked:
                self._end()
        return replace(artifact, sealed=files.key)

    def _ask(self, asked: Facts, data: bytes, files: VersionFiles) -> tuple[Facts, bytes]:
        """What it answers in the end; until then it is given the files that it wants."""
        wire = self._greeted()
        self._is_asked = True
        self._kills, self._room = container_memory.kills(), container_memory.room()
        self._tell(wire, asked, data)
        for _ in range(MOST_FILES):
            answer, changed = wire.receive()
            if "wants" not in answer:
                self._is_asked = False
                _log_again(answer)
                return answer, changed
            with well_formed():
                wanted, largest = Path(answer["wants"]), min(int(answer["most"]), LARGEST_MODEL)
            # external data belongs to the file that names it: to the folder where that lies without links
            folder = canonical(Path(asked["file"])).parent
            try:
                found, digest = files.read(folder, wanted, largest)
            except ProblemsFound as refused:
                self._tell(wire, {"problems": told(refused.problems)})
            else:
                self._tell(wire, {"sha256": digest}, found)
        raise NoAnswer("it wants too many files")

    def _tell(self, wire: Wire, facts: Facts, data: bytes = b"") -> None:
        """From now on its time counts."""
        wire.until = time.monotonic() + self._seconds
        wire.send(facts, data)

    def _start(self) -> Wire:
        """Raises NoProcess."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment(),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise no_process(error) from None
        self._wire, self._has_greeted = Wire(ours), False
        return self._wire

    def _greeted(self) -> Wire:
        """When it has said that it is undumpable: what it is given may be a sealed file's."""
        wire = self._wire or self._start()
        if not self._has_greeted:
            wire.until = time.monotonic() + self._seconds
            try:
                wire.receive()
            except NoAnswer:
                if self._process is not None:
                    raise
                self._end()  # the one that was given is gone
                return self._greeted()
            self._has_greeted = True
        return wire

    def _end(self, error: NoAnswer | None = None) -> str:
        """Why it gives no answer, in words."""
        wire, self._wire = self._wire, None
        process, self._process = self._process, None
        self._is_asked = False
        code = None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(GONE_SECONDS if isinstance(error, Gone) else 0)
            process.kill()
            process.wait()
        if wire is not None:
            wire.close()
        if isinstance(error, Late) or code == -signal.SIGALRM:
            return f"it took longer than {self._seconds:g} s"
        why = str(error or "") if code is None else ending(code)
        return why + self._want_of_memory() if isinstance(error, Gone) else why

    def _want_of_memory(self) -> str:
        """In words, as far as it shows: how one that was given has ended, which is no child of this process, only the
        kernel's count tells."""
        if container_memory.kills() > self._kills:
            return ", and the kernel has killed a process for want of memory"
        if self._room is not None and self._room < SCARCE:
            return f", where the container had {self._room >> 20} MiB of memory left"
        return ""


def _log_again(answer: Facts) -> None:
    with well_formed():
        for name, level, line in answer["lines"]:
            logging.getLogger(str(name)).log(int(level), "%s", line)
