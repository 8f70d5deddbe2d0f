"""A log on disks that fail for real: full, read-only, of limited files, and with syncs that fail."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.audit.files import LogReader, LogWriter
from modelward.audit.note import Signer
from modelward.audit.verify import verify

SIGNER = Signer("log.example", bytes(range(32)))
SIZE = "400k"


def records(first: int, end: int) -> list[bytes]:
    return [b'{"n":%d,"what":"%s"}' % (i, b"x" * 100) for i in range(first, end)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or not mounted("-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)):
        pytest.skip("mounting a file system needs root, and a container that allows it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def whole(folder: Path, size: int) -> None:
    found = verify(LogReader(folder), SIGNER.verifier)
    assert found.findings == ()
    assert found.records == size
    assert list(LogReader(folder).records(0, size)) == records(0, size)


def test_a_full_disk_takes_nothing_that_was_confirmed_and_the_log_goes_on(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(100 << 10))
    log = LogWriter.open(disk / "log", SIGNER)
    confirmed, failures = 0, 0
    while not failures:
        try:
            confirmed = log.add(records(confirmed, confirmed + 50)).size
        except OSError as error:
            assert error.errno == errno.ENOSPC
            failures += 1
    assert confirmed >= 500
    whole(disk / "log", confirmed)
    for _ in range(3):
        with contextlib.suppress(OSError):
            confirmed = log.add(records(confirmed, confirmed + 1)).size
    whole(disk / "log", confirmed)
    ballast.unlink()
    for _ in range(5):
        confirmed = log.add(records(confirmed, confirmed + 50)).size
    log.close()
    whole(disk / "log", confirmed)


def test_a_disk_that_became_read_only_is_told_and_the_log_goes_on(disk: Path) -> None:
    log = LogWriter.open(disk / "log", SIGNER)
    log.add(records(0, 300))
    assert mounted("-o", "remount,ro", str(disk))
    for _ in range(2):
        with pytest.raises(OSError, match="Read-only"):
            log.add(records(300, 310))
    whole(disk / "log", 300)
    assert mounted("-o", "remount,rw", str(disk))
    assert log.add(records(300, 310)).size == 310
    log.close()
    whole(disk / "log", 310)


CHILD = """
import json, os, resource, sys
from pathlib import Path
from modelward.audit.files import LogWriter
from modelward.audit.note import Signer
sys.path.insert(0, {tests!r})
from tests.proxy.audit.test_disk import SIGNER, records

folder, steps = Path(sys.argv[1]), json.loads(sys.argv[2])
log, failed = LogWriter.open(folder, SIGNER), False
for step, count in steps:
    if step == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, resource.RLIM_INFINITY))
    elif step == "fail":
        Path(os.environ["SHIM_COUNT"]).write_text(str(count))
    else:
        try:
            size = (log.add([]) if failed else log.checkpoint).size  # it may have got there all the same
            failed = True
            size = log.add(records(size, size + count)).size
        except OSError as error:
            print(json.dumps([error.errno, log.checkpoint.size]))
        else:
            failed = False
            print(json.dumps([0, size]))
"""


def child(folder: Path, *steps: tuple[str, int], **environment: str) -> list[list[int]]:
    """What became of each append: errno, and how many records are confirmed then."""
    script = CHILD.format(tests=str(Path(__file__).parents[3]))
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps(steps)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_limit_of_file_sizes_is_told_and_the_log_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = child(log, ("append", 100), ("limit", 4096), ("append", 100), ("append", 1), ("limit", -1), ("append", 200))
    assert found == [[0, 100], [errno.EFBIG, 100], [errno.EFBIG, 100], [0, 300]]
    whole(log, 300)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Fails the sync of the number that the file holds, and those after it up to the next reading. */
int fsync(int fd) {
  const char *name = getenv("SHIM_COUNT");
  FILE *file = name ? fopen(name, "r") : NULL;
  int left = -1;
  if (file) {
    if (fscanf(file, "%d", &left) != 1) left = -1;
    fclose(file);
  }
  if (left >= 0) {
    file = fopen(name, "w");
    if (file) {
      fprintf(file, "%d", left > 0 ? left - 1 : -1);
      fclose(file);
    }
    if (left == 0) {
      errno = EIO;
      return -1;
    }
  }
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return real(fd);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_sync_that_fails_confirms_nothing_and_the_log_goes_on(tmp_path: Path) -> None:
    """Below Python, at each sync of an append in turn."""
    source, shim, count = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "count"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    steps: list[tuple[str, int]] = [("append", 250)]
    for at in range(14):
        steps += [("fail", at), ("append", 10), ("fail", -1), ("append", 1)]
    preload = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
    found = child(tmp_path / "log", *steps, LD_PRELOAD=preload, SHIM_COUNT=str(count))
    failed = [each for each in found[1::2] if each[0]]
    assert len(failed) >= 6
    assert {number for number, _ in failed} == {errno.EIO}
    assert all(number == 0 for number, _ in found[2::2])
    sizes = [size for _, size in found]
    assert sizes == sorted(sizes)
    whole(tmp_path / "log", sizes[-1])
