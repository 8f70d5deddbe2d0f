"""The files of a version opened in memory: the one place where what is sealed becomes what was sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modelward.config.schema import Config
from modelward.problem import Problem, ProblemsFound
from modelward.sealing.header import Damaged, NoMatch, is_sealed, recipients_of

if TYPE_CHECKING:
    from modelward.sealing.keys import Found, Identity

MOST_NAMED = 4


class Opened(NamedTuple):
    """key: name of the identity that opened it; "" where it was not sealed."""

    data: bytes
    key: str = ""


# what a file holds, and its path, for problems. Raises ProblemsFound.
Unseal = Callable[[bytes, Path], Opened]


def unseal_nothing(data: bytes, where: Path) -> Opened:
    """Where no keys are configured: what is sealed is refused."""
    if is_sealed(data):
        how = "Name its key in sealing.identities; a profile or a canary is made before the version is sealed"
        raise ProblemsFound([Problem("the file is sealed, and there is no key for it", str(where), how=how)])
    return Opened(data)


class Opener:
    """Opens files of a repository. Keys are read when the first sealed file is met, and once."""

    def __init__(self, config: Config) -> None:
        if config.sealing is not None:  # which it holds the keys of
            from modelward.sealing.process import seclude  # noqa: PLC0415 - only where something is sealed

            seclude()
        self._config = config
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


@dataclass(frozen=True, slots=True)
class _Unseal:
    opener: Opener
    required: bool

    def __call__(self, data: bytes, where: Path) -> Opened:
        if is_sealed(data):
            return open_with(self.opener.found, data, where)
        if self.required:
            what, how = "the file is not sealed", "Seal the version: modelward model seal FOLDER --recipient age1..."
            raise ProblemsFound([Problem(what, str(where), "sealing.require names the model", how)])
        return Opened(data)


def opener_of(found: Found) -> Unseal:
    """With these identities, whatever the configuration says."""
    return lambda data, where: open_with(found, data, where) if is_sealed(data) else Opened(data)


def open_with(found: Found, data: bytes, where: Path) -> Opened:
    """Tries each identity. Raises ProblemsFound."""
    for identity in found.identities:
        try:
            return Opened(identity.open(data), identity.name)
        except NoMatch:
            continue
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
