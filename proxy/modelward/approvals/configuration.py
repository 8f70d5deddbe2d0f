"""Which configuration is followed: the files themselves, or while these wait for an approval, what was approved last.

The texts that were approved last are kept in the state folder. So a restart needs nobody, and a file that nobody has
approved is followed neither by a reload nor by a start. Which folder that is, the command line and the environment say:
a file that waits for an approval does not choose where approved ones are looked for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from modelward.approvals.approved import Approved
from modelward.approvals.objections import Objections, changed
from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.config.changes import changed_rights
from modelward.config.schema import Config
from modelward.config.settings_files import SettingsFiles
from modelward.defect import as_problem
from modelward.problem import Problem, ProblemsFound
from modelward.records import read, written

FILE = "configuration.approved.json"
LARGEST_FILE = 64 << 20
HOW = "Set state to a folder that the server may write, on a disk with room"
HOW_AWAY = "move it away, and the files as they lie there are taken as approved"
HOW_BROKEN = f"Put a good copy of it back; or {HOW_AWAY}"

HOW_RIGHTS = "Let an administrator who is an approver approve it: modelward proposals"

Load = Callable[[SettingsFiles, bool], Config]

log = logging.getLogger("modelward.approvals")


class Waiting(Struct, frozen=True):
    """Files that are not followed yet. config: what they say. diff: cut where it is too long."""

    files: SettingsFiles
    config: Config
    diff: tuple[str, ...]
    cut: bool

    @property
    def digest(self) -> str:
        return self.files.digest


Agreed = Callable[[SettingsFiles, Approved, Config], bool]


class Configuration:
    """Use `first`, then `read` for each reload. waiting: files that lie there and need approvals; None where there are
    none. faulty: why the files that lie there are no configuration, where what was approved is followed all the same.
    Its methods block, and may be called from several threads."""

    def __init__(
        self,
        load: Load,
        folder: Path,
        agreed: Agreed,
        complete: Callable[[Config], Config] = lambda config: config,
    ) -> None:
        """load: reads and checks the configuration, again or for the first time. folder: where the server keeps its
        state, as is said outside the files. agreed: whether approvers have signed the files, and enough, before a
        start. complete: what is done with a configuration that is followed, and with no other: it may run what that
        names."""
        self.waiting: Waiting | None = None
        self.faulty: tuple[Problem, ...] = ()
        self.approved: Approved | None = None
        self._load = load
        self._agreed = agreed
        self._complete = complete
        self._file = folder / FILE
        self._allowed, self._with_rights = "", False
        self._untold: list[str] = []
        self.taken = ""
        """What this process has taken as approved because nothing was approved before: the digest of its files."""
        self._reading = threading.Lock()

    def first(self) -> Config:
        """At the start. Files are taken as approved where none were before, or where enough approvers have signed them.
        Use `tell` when there is a log. Raises ProblemsFound."""
        return self._complete(self._first())

    def read(self, followed: Config) -> Config:
        """For a reload: what may be followed now. followed: until then. Raises ProblemsFound."""
        with self._reading:
            try:
                return self._complete(self._next(followed))
            finally:
                self.tell()

    def tell(self) -> None:
        """Logs what was approved, or taken as approved."""
        while self._untold:
            log.info("%s", self._untold.pop(0))

    def _first(self) -> Config:
        """What was approved is found first, and whatever the files say."""
        self.approved, files = self._read(), SettingsFiles()
        if self.approved is None or not self.approved.binding:
            return self._accept(files, self._load(files, False))
        try:
            with as_problem("the configuration"):
                config = self._load(files, True)
        except ProblemsFound as found:
            return self._despite(found, files)
        if files.digest == self.approved.digest:
            return self._load(SettingsFiles(files.texts), False)
        before = self._as_approved(files)
        if not before.approvers("reload") or self._agreed(files, self.approved, before):
            return self._accept(files, self._load(SettingsFiles(files.texts), False))
        return self._wait(files, config, before)

    def _next(self, followed: Config) -> Config:
        files = SettingsFiles()
        try:
            with as_problem("the configuration"):
                config = self._load(files, True)
        except ProblemsFound as found:
            if self.approved is None or not followed.approvers("reload"):
                raise
            return self._despite(found, files)
        if self.approved is None or not followed.approvers("reload"):
            return self._accept(files, config)
        if files.digest == self.approved.digest:
            return self._accept(files, config)
        before = self._as_approved(files)
        if files.digest != self._allowed:
            return self._wait(files, config, before)
        if not self._with_rights and (changed := changed_rights(before, config)):
            why = "who has agreed to it may not change who may do what: that takes the verb bindings"
            what = f"{' and '.join(changed)} differ from what was approved last"
            raise ProblemsFound([Problem(what, "configuration", why, HOW_RIGHTS)])
        return self._accept(files, config)

    def _despite(self, found: ProblemsFound, files: SettingsFiles) -> Config:
        """Files that nobody has approved keep no server from starting, and from following its models. Raises what was
        found where they count."""
        assert self.approved is not None
        if files.digest == self.approved.digest:
            raise found
        before = self._as_approved(files)
        if not before.approvers("reload"):
            raise found
        if self.faulty != found.problems:
            for problem in found.problems:
                log.error("the configuration approved last is followed, since the files have a problem: %s", problem)
        self.waiting, self.faulty = None, found.problems
        return before

    def digest(self) -> str:
        """Of the files as they lie there. Raises ProblemsFound where these are no configuration."""
        files = SettingsFiles()
        self._load(files, True)
        return files.digest

    def rights(self, digest: str) -> list[str]:
        """Which settings that say who may do what the files with this digest change, of those that were approved last.
        Raises ProblemsFound where other files lie there."""
        files = SettingsFiles()
        config = self._load(files, True)
        if files.digest != digest:
            what = f"the files have changed: they were {digest}, and are {files.digest}"
            raise ProblemsFound([Problem(what, "configuration", how="Look at the next proposal")])
        return changed_rights(self._as_approved(files), config) if self.approved is not None else []

    def allow(self, digest: str, *, rights: bool = False) -> None:
        """`read` follows files with this digest from now on. rights: also where they change who may do what."""
        self._allowed, self._with_rights = digest, rights

    def _as_approved(self, files: SettingsFiles) -> Config:
        assert self.approved is not None
        try:
            return self._load(SettingsFiles(self.approved.data), True)
        except ProblemsFound as found:
            why = f"the files that lie there now, {files.digest}, are not approved"
            how = f"Mend what it names; or, since no approval can be judged without it, {HOW_AWAY}"
            what = "the configuration that was approved last cannot be followed any more"
            raise ProblemsFound([Problem(what, str(self._file), why, how), *found.problems]) from found

    def _wait(self, files: SettingsFiles, config: Config, before: Config) -> Config:
        assert self.approved is not None
        self.faulty = ()
        if self.waiting is None or self.waiting.digest != files.digest:
            from modelward.approvals.differences import bounded, differences  # noqa: PLC0415 - only where files wait

            lines, cut = bounded(differences(self.approved.data, files.texts, before, config))
            self.waiting = Waiting(files, config, lines, cut)
        return before

    def _accept(self, files: SettingsFiles, config: Config) -> Config:
        """Written first: what a start would not know of is not followed. Once approvals were needed, what needs none
        any more is written too, or a start would go back."""
        binding, before = bool(config.approvers("reload")), self.approved
        if (binding or before is not None) and (
            before is None or (before.digest, before.binding) != (files.digest, binding)
        ):
            if before is None:
                approved = Approved.of(files, binding=binding)
            else:
                approved = before.by(files, time.time(), binding=binding)
            self._write(approved)
            self.approved = approved
            if before is None:
                self.taken = approved.digest
                self._untold.append(f"the configuration is taken as approved, since none was before: {approved.digest}")
            else:
                self._untold.append(f"the configuration is approved: {approved.digest}")
        self.waiting, self.faulty = None, ()
        self.allow("")
        return config

    def _read(self) -> Approved | None:
        try:
            return read(Approved, read_regular(self._file, LARGEST_FILE))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            what = "the approved configuration cannot be read"
            raise ProblemsFound([Problem(what, str(self._file), str(error), HOW_BROKEN)]) from error

    def _write(self, approved: Approved) -> None:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._file, written(approved, indent=1) + b"\n")
        except OSError as error:
            why = error.strerror or os.strerror(error.errno or 0)
            what = "the approved configuration cannot be written"
            raise ProblemsFound([Problem(what, str(self._file), why, HOW)]) from error


def signed_by(
    files: SettingsFiles, approved: Approved, config: Config, objections: Objections, asked: bool = False
) -> tuple[str, ...]:
    """Approvers of this configuration who have signed, by now, all files that differ from those approved last. asked:
    an operator has proposed them."""
    if config.approvals is None or not config.approvals.keys:
        return ()
    from modelward.approvals.signatures import approvers  # noqa: PLC0415 - brings cryptography: only where there are keys

    return approvers(files, approved, config, time.time(), objections, asked=asked)


def agreed(folder: Path, files: SettingsFiles, approved: Approved, config: Config) -> bool:
    """Whether approvers have signed the files before a start, and enough by the proposals in the state folder."""
    if not signed_by(files, approved, config, Objections(), True):
        return False
    from modelward.approvals import at_start  # noqa: PLC0415 - only where files were signed

    ask = at_start.asked(files.digest, changed(approved.data, files.texts))
    return at_start.agreed(folder, ask, partial(signed_by, files, approved, config), config, time.time())
