"""Roots of other systems, and commands in them: as a user without rights, on a file system that cannot be written.

mmdebstrap makes a root from the packages of a release, once; bubblewrap starts a command in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["CACHE", "USER", "Missing", "command", "give", "root"]

CACHE = Path(__file__).parents[2] / ".cache"
USER = 65532
ROOT_SECONDS = 1800


class Missing(RuntimeError):
    """What is needed and cannot be had here: the message says what, and how it is installed."""


def tool(name: str, package: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def root(suite: str, packages: Sequence[str], components: str = "main", name: str = "") -> Path:
    """The root of a release with these packages, from .cache/roots if it is there. Raises Missing."""
    folder = CACHE / "roots" / (name or suite)
    complete = folder.with_name(f"{folder.name}.complete")
    if complete.exists():
        return folder
    if os.geteuid():
        raise Missing("roots are made by root alone: their files belong to several users")
    made = [tool("mmdebstrap", "mmdebstrap"), "--mode=root", "--variant=minbase", f"--components={components}"]
    made += [f"--include={','.join(packages)}"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run([*made, suite, str(folder)], capture_output=True, text=True, timeout=ROOT_SECONDS, check=False)
    if ran.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise Missing(f"no root of {suite} can be made here: {ran.stderr.strip().splitlines()[-1:]}")
    complete.touch()
    return folder


def give(folder: Path) -> None:
    """To the user in the root, with all that is in it."""
    if os.geteuid() == 0:
        for each in (folder, *folder.rglob("*")):
            os.chown(each, USER, USER, follow_symlinks=False)


def command(
    folder: Path,
    program: Sequence[str],
    *,
    reads: Mapping[Path, str] | None = None,
    writes: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
    network: bool = False,
) -> list[str]:
    """What starts a program in a root, as user USER and as process 1. Raises Missing.

    The root is read-only. reads, writes: folders of this machine, and where they are in the root; what is written must
    belong to USER. network: the ports of this machine, or none but a loopback of its own.
    """
    made = [tool("bwrap", "bubblewrap"), "--unshare-user", "--unshare-pid", "--unshare-ipc", "--as-pid-1"]
    made += ["--die-with-parent", "--new-session", "--clearenv", "--ro-bind", str(folder), "/"]
    made += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    if not network:
        made += ["--unshare-net"]
    for here, there in (reads or {}).items():
        made += ["--ro-bind", str(here), there]
    for here, there in (writes or {}).items():
        made += ["--bind", str(here), there]
    for name, value in (environment or {}).items():
        made += ["--setenv", name, value]
    # Root of the machine would be root in the namespace too, under another number.
    drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
    return [*drop, *made, "--", *program]
