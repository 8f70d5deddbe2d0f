"""A version's files taken from its folder, and written to another one: all or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from modelward.atomic_file import replacing
from modelward.integrity.locate import model_file
from modelward.integrity.version_files import VersionFiles
from modelward.models.canary import LARGEST as LARGEST_CANARY
from modelward.models.canary import canary_file
from modelward.models.model_file import load_artifact
from modelward.problem import Problem, ProblemsFound
from modelward.repository.scan import MODEL_FILE, default_profile
from modelward.score.size import MAX_FILE
from modelward.sealing.opening import Opened, Unseal

MOST_OTHERS = 20


class FolderFiles(Struct, frozen=True):
    """files: what each holds, opened, by its name in the folder; the model's is the last. others: that are no part of
    the version. key: name of the one that opened them."""

    files: Mapping[str, bytes]
    others: tuple[str, ...]
    key: str


def files_of(path: Path, unseal: Unseal) -> FolderFiles:
    """Of the version in the folder `path`, or of the model's file `path`. Checks the model. Raises ProblemsFound."""
    file = model_file(path)
    held: dict[Path, bytes] = {}

    def hold(data: bytes, where: Path) -> Opened:
        opened = unseal(data, where)
        held[where] = opened.data
        return opened

    files = VersionFiles(file.parent, file, hold)
    load_artifact(files.root, file, files.read)
    for beside, largest in ((default_profile(file), MAX_FILE), (canary_file(file), LARGEST_CANARY)):
        if files.has(beside):
            files.read(files.root, beside, largest)
    named = {files.name_of(each): data for each, data in reversed(held.items())}
    assert not any(Path(name).is_absolute() for name in named)  # read_inside refuses what lies elsewhere
    others: tuple[str, ...] = ()
    if file.name == MODEL_FILE:  # else its neighbours may be those of other models
        others = tuple(sorted(each.name for each in file.parent.iterdir() if each.is_file() and each.name not in named))
    return FolderFiles(named, others[:MOST_OTHERS], files.key)


def plain_size(files: Mapping[str, bytes]) -> dict[str, int]:
    return {name: len(data) for name, data in sorted(files.items())}


class Folder:
    """A folder that comes into being with all of its files, on leaving without an exception.

    mode: of its files; the folder lets in those who may read them.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self._path = path
        self._mode = mode

    def __enter__(self) -> Self:
        is_empty = self._path.is_dir() and not self._path.is_symlink() and not any(self._path.iterdir())
        if os.path.lexists(self._path) and not is_empty:
            how = "Name a folder that is not there, or an empty one"
            raise ProblemsFound([Problem("the folder is there already", str(self._path), how=how)])
        try:
            self._made = Path(tempfile.mkdtemp(dir=self._path.parent, prefix=f".{self._path.name}."))
        except OSError as error:
            raise self._problem(error) from error
        return self

    def write(self, name: str, data: bytes) -> None:
        """Raises ProblemsFound."""
        file = self._made / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file, self._mode) as out:
                out.write(data)
        except OSError as error:
            raise self._problem(error) from error

    def __exit__(self, kind: type[BaseException] | None, *raised: BaseException | TracebackType | None) -> None:
        if kind is None:
            try:
                for folder in (self._made, *(each for each in self._made.rglob("*") if each.is_dir())):
                    folder.chmod(0o755 if self._mode & 0o044 else 0o700)
                os.rename(self._made, self._path)
            except OSError as error:
                shutil.rmtree(self._made, ignore_errors=True)
                raise self._problem(error) from error
        else:
            shutil.rmtree(self._made, ignore_errors=True)

    def _problem(self, error: OSError) -> ProblemsFound:
        why, how = error.strerror or str(error), "Check the folder above it, its permissions and its room"
        return ProblemsFound([Problem("the folder cannot be written", str(self._path), why, how)])
