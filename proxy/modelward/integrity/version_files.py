"""The files of one version as they are read: each once, as bytes, and hashed. What was hashed is what is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from modelward.integrity.digest import root_digest
from modelward.repository.files import LARGEST_MODEL, canonical
from modelward.sealing.opening import Unseal, unseal_nothing
from modelward.sealing.reading import read_opened


class VersionFiles:
    """root: folder that no file may leave. file: the model's. hashes: SHA-256 of what was read, by the name in the
    folder of the version; of sealed files as they lie there. key: name of the one that opened the last sealed file."""

    def __init__(self, root: Path, file: Path, unseal: Unseal = unseal_nothing) -> None:
        self.root = root
        self.unseal = unseal
        self.key = ""
        self.folder = file.parent
        self.hashes: dict[str, str] = {}

    def has(self, file: Path) -> bool:
        """Whether the version has a file that it need not have. A link that leads nowhere is one: reading it tells."""
        return file.exists() or file.is_symlink()

    def read(self, root: Path, path: Path, largest: int = LARGEST_MODEL) -> tuple[bytes, str]:
        """As modelward.repository.files.read_hashed, and opened where it is sealed."""
        (data, key), digest = read_opened(root, path, largest, self.unseal)
        self.key = key or self.key
        self.hashes[self.name_of(path)] = digest
        return data, digest

    def note(self, files: Iterable[Path], hashes: Iterable[str]) -> None:
        """These were read before, and have not changed."""
        self.hashes.update({self.name_of(file): digest for file, digest in zip(files, hashes, strict=True)})

    def name_of(self, path: Path) -> str:
        """Within the folder of the version, as a signature has it; whole where it lies elsewhere."""
        for folder in (self.folder, canonical(self.folder)):
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return str(path)

    @property
    def digest(self) -> str:
        """Of the version. Complete once everything that it has was read."""
        return root_digest(self.hashes)
