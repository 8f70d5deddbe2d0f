"""The files of a version opened in memory: the one place where what is sealed becomes what was sealed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from modelward.child import ChildEnded
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import almost_sealed
from modelward.sealing.header import Damaged, NoMatch, is_sealed, recipients_of

if TYPE_CHECKING:
    from modelward.sealing.keys import Found, Identity

MOST_NAMED = 4
SECONDS = 600.0  # for a command, in which a person waits


class Opened(NamedTuple):
    """key: name of the identity that opened it; "" where it was not sealed."""

    data: bytes
    key: str = ""


class GivenUp(ProblemsFound):
    """It took too long to be opened. digest: of the file, hexadecimal."""

    def __init__(self, problem: Problem, digest: str) -> None:
        self.digest = digest
        super().__init__([problem])


HOW_SLOW = "Seal it again for fewer recipients, or raise load_timeout if it is only large"

# what a file holds, and its path, for problems. Raises ProblemsFound.
Unseal = Callable[[bytes, Path], Opened]


def unseal_nothing(data: bytes, where: Path) -> Opened:
    """Where no keys are configured: what is sealed is refused."""
    if is_sealed(data):
        how = "Name its key in sealing.identities; a profile or a canary is made before the version is sealed"
        raise ProblemsFound([Problem("the file is sealed, and there is no key for it", str(where), how=how)])
    return _as_it_lies(data, where)


def _as_it_lies(data: bytes, where: Path) -> Opened:
    """Raises ProblemsFound where it was sealed, and is not as it was."""
    if fault := almost_sealed(data):
        how = "Copy it again, or seal it again: modelward model seal, or age without --armor"
        raise ProblemsFound([Problem("the file is one of age, and cannot be opened", str(where), fault, how)])
    return Opened(data)


class Opener:
    """Opens files of a repository. Keys are read when the first sealed file is met, and once.

    slow: hashes of files that took too long before, and are not tried again.
    """

    def __init__(self, config: Config, slow: frozenset[str] = frozenset()) -> None:
        if config.sealing is not None:  # which it holds the keys of
            from modelward.sealing.process import seclude  # noqa: PLC0415 - only where something is sealed

            seclude()
        self._config = config
        self.slow = slow
        self.seconds = config.load_timeout / SECOND
        self._found: Found | None = None

    def of_model(self, name: str) -> Unseal:
        """For the files of one model."""
        if self._config.sealing is None:
            return unseal_nothing
        return _Unseal(self, self._config.sealing.requires(name))

    @property
    def found(self) -> Found:
        assert self._config.sealing is not None
        if self._found is None:
            from modelward.sealing.keys import identities_of  # noqa: PLC0415 - brings the ciphers
            from modelward.sealing.sources import read  # noqa: PLC0415 - only where something is sealed

            secrets = self._config.secrets
            self._found = identities_of(map(read, self._config.sealing.identities) if secrets is None else secrets)
        return self._found


class _Unseal(Struct, frozen=True):
    opener: Opener
    required: bool

    def __call__(self, data: bytes, where: Path) -> Opened:
        if is_sealed(data):
            if self.opener.slow and (digest := hashlib.sha256(data).hexdigest()) in self.opener.slow:
                what, how = "the sealed file took too long to open before, and is not tried again", HOW_SLOW
                raise GivenUp(Problem(what, str(where), how=how), digest)
            return open_with(self.opener.found, data, where, self.opener.seconds)
        if self.required:
            what, how = "the file is not sealed", "Seal the version: modelward model seal FOLDER --recipient age1..."
            raise ProblemsFound([Problem(what, str(where), "sealing.require names the model", how)])
        return _as_it_lies(data, where)


def opener_of(found: Found) -> Unseal:
    """With these identities, whatever the configuration says."""
    return lambda data, where: open_with(found, data, where) if is_sealed(data) else _as_it_lies(data, where)


def open_with(found: Found, data: bytes, where: Path, seconds: float = SECONDS) -> Opened:
    """Tries each identity, for `seconds` in all. Raises ProblemsFound."""
    until = time.monotonic() + seconds
    for identity in found.identities:
        try:
            return Opened(identity.open(data, max(0.1, round(until - time.monotonic(), 1))), identity.name)
        except NoMatch:
            continue
        except ChildEnded as ended:
            what = "the sealed file cannot be opened"
            problem = Problem(what, str(where), f"with {identity.name}: {ended}", HOW_SLOW)
            raise GivenUp(problem, hashlib.sha256(data).hexdigest()) from None
        except Damaged as error:
            raise ProblemsFound([_damaged(error, where)]) from None
    raise ProblemsFound([_no_key(found.identities, data, where), *found.problems])


def told_recipients(data: bytes, where: Path) -> list[str]:
    """Kinds of those that a file is sealed for. Raises ProblemsFound."""
    try:
        return recipients_of(data)
    except Damaged as error:
        raise ProblemsFound([_damaged(error, where)]) from None


def _damaged(error: Damaged, where: Path) -> Problem:
    how = "Copy it again. Where that does not help, it was changed: seal the version again"
    return Problem("the sealed file cannot be opened", str(where), str(error), how)


def _no_key(identities: Sequence[Identity], data: bytes, where: Path) -> Problem:
    if not identities:
        what, how = "the file is sealed, and there is no key for it", "Name its key in sealing.identities"
        return Problem(what, str(where), how=how)
    named = ", ".join(identity.name for identity in identities[:MOST_NAMED])
    more = f" and {len(identities) - MOST_NAMED} more" if len(identities) > MOST_NAMED else ""
    count = len(told_recipients(data, where))
    whose = "its recipient is not" if count == 1 else f"none of its {count} recipients is"
    why = f"{whose} {named}{more}"
    how = "Seal it for that recipient too, or name the key that belongs to it in sealing.identities"
    return Problem("the file is sealed for another key", str(where), why, how)
