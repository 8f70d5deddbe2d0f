"""Wheels as bytes: read whole, and written so that the same files give the same bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["FIRST_DAY", "digest", "dist_info", "read", "recorded", "write"]

FIRST_DAY = 315_532_800  # a zip file tells no earlier time than 1980-01-01
PLAIN, EXECUTABLE = 0o100644, 0o100755


def read(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name, without folders."""
    with zipfile.ZipFile(wheel) as archive:
        return {each.filename: archive.read(each) for each in archive.infolist() if not each.is_dir()}


def dist_info(files: Mapping[str, bytes]) -> str:
    """The name of the wheel's metadata folder. ValueError unless there is one."""
    (name,) = {name.split("/")[0] for name in files if name.split("/")[0].endswith(".dist-info")}
    return name


def digest(data: bytes) -> str:
    """As RECORD has it: SHA-256, base64 for addresses, without padding."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def recorded(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with a RECORD that lists all of them, in the order in which a wheel has them: metadata last."""
    folder = dist_info(files)
    record = f"{folder}/RECORD"
    names = sorted((name for name in files if name != record), key=lambda name: (name.startswith(f"{folder}/"), name))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows((name, digest(files[name]), len(files[name])) for name in names)
    rows.writerow((record, "", ""))
    return {**{name: files[name] for name in names}, record: text.getvalue().encode()}


def write(wheel: Path, files: Mapping[str, bytes], epoch: int) -> None:
    """Writes a wheel. epoch: the time of every file in it, in seconds since 1970."""
    moment = time.gmtime(max(epoch, FIRST_DAY))[:6]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in recorded(files).items():
            entry = zipfile.ZipInfo(name, moment)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: what follows is a mode
            entry.external_attr = (EXECUTABLE if data.startswith(b"\x7fELF") else PLAIN) << 16
            archive.writestr(entry, data)
