"""`python -m scripts.package RAW.whl FOLDER`: what pip has built, as a wheel that runs elsewhere, checked."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.package import ROOT, archive
from scripts.package.check import LARGEST_BYTES, problems
from scripts.package.wheel import repaired

NATIVE = ROOT / "native"


def modules() -> list[str]:
    """The compiled modules that a wheel must have: all but those of tests."""
    paths = [path.relative_to(NATIVE).with_suffix("") for path in NATIVE.rglob("*.pyx")]
    return sorted(".".join(path.parts) for path in paths if "testing" not in path.parts)


def epoch() -> int:
    """The time that all files in the wheel have: SOURCE_DATE_EPOCH, which scripts/wheel sets, or 1980."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", archive.FIRST_DAY))


def main() -> int:
    raw, folder = map(Path, sys.argv[1:])
    try:
        wheel = repaired(raw, folder, epoch())
    except LookupError as error:
        print(f"wheel: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"wheel: auditwheel refuses {raw.name}", file=sys.stderr)
        return error.returncode
    files, size = archive.read(wheel), wheel.stat().st_size
    found = problems(wheel.name, files, modules(), [str(raw.parent.resolve()), str(ROOT)])
    if size > LARGEST_BYTES:
        found.append(f"{size:,} bytes: more than the {LARGEST_BYTES:,} that it may have")
    for problem in found:
        print(f"wheel: {problem}", file=sys.stderr)
    if found:
        wheel.unlink()
        return 1
    print(f"wheel: {wheel.name}: {size / 1e6:.2f} MB, {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
