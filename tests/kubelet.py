"""Volumes of ConfigMaps and Secrets, written as the kubelet writes them (its AtomicWriter)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """A folder whose files are links through `..data`, which leads to the folder of the present contents.

    A change writes another folder and renames a link to it over `..data`: all files change at the same moment.
    """

    def __init__(self, folder: Path, files: Mapping[str, str | bytes]) -> None:
        """files: by path; one with slashes as `items` of a volume give it."""
        self.folder = folder
        self._number = 0
        folder.mkdir(parents=True)
        self.write(files)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def write(self, files: Mapping[str, str | bytes]) -> None:
        data = self.folder / "..data"
        before = Path(os.readlink(data)) if data.is_symlink() else None
        self._number += 1
        payload = self.folder / f"..2026_11_30_00_00_00.{self._number}"
        for name, content in files.items():
            file = payload / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            file.chmod(0o440)
        turned = self.folder / "..data_tmp"
        turned.symlink_to(payload.name)
        os.replace(turned, data)
        shown = {name.partition("/")[0] for name in files}
        for name in shown:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for link in self.folder.iterdir():
            if not link.name.startswith("..") and link.name not in shown:
                link.unlink()
        if before is not None:
            shutil.rmtree(self.folder / before)
