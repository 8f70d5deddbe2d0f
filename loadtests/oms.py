"""The public cases of OpenSSF Model Signing, judged by our verifier: `make bench-oms ARGS="DIR [DIR...]"`.

DIR: a checkout of github.com/ossf/model-signing-spec (test-vectors) or github.com/sigstore/model-transparency (signed
models of all releases). Nothing is asked of a network: for Sigstore the trusted root that the library brings is used.
Exit code 1 where a case is judged otherwise than its folder, or its script, says.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from msgspec.structs import replace

from modelward.cli.output import print_table
from modelward.integrity import bundle, manifest
from modelward.integrity.listing import difference
from modelward.integrity.signature import Signed, verdict_on
from modelward.integrity.trust import Trust
from modelward.integrity.version_files import SIGNATURE_FILE, WHOLE

GOOD, BAD = "accepted", "refused"
STORE = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"  # the public instance, as sigstore names its copy of the root
IDENTITY = re.compile(r"--identity (\S+).*?--identity_provider (\S+)", re.DOTALL)
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Case:
    """expected: what the corpus says. found: what we say, and why."""

    name: str
    expected: str
    found: str
    why: str = ""

    @property
    def is_as_said(self) -> bool:
        return self.expected == self.found


def vectors(root: Path, trust: Trust) -> Iterator[Case]:
    """Bundles alone. Those that are valid are verified too, where a key or root for them is at hand."""
    for file in sorted(root.glob("test-vectors/v*/*/*.json")):
        name = f"{file.parent.parent.name}/{file.parent.name}/{file.name.removesuffix('.bundle.json')}"
        data, expected = file.read_bytes(), GOOD if file.parent.name == "valid" else BAD
        try:
            parsed = bundle.parse(data)
        except ValueError as error:
            yield Case(name, expected, BAD, f"bundle: {error}")
            continue
        try:
            manifest.parse(parsed.payload)
        except ValueError as error:
            yield Case(name, expected, BAD, f"statement: {error}")
            continue
        verdict = verdict_on(data, trust, NOW) if trust != Trust() else "no key is at hand: its form alone"
        told = f"signed by {verdict.signer}" if isinstance(verdict, Signed) else verdict
        yield Case(name, expected, GOOD if isinstance(verdict, Signed) or trust == Trust() else BAD, told)


def signed_models(root: Path, trust: Trust) -> Iterator[Case]:
    """Folders with their signatures; and each of them with a byte changed, a file more, a file less."""
    for signature in sorted(root.glob("scripts/tests/v*/model.sig")):
        folder = signature.parent
        ignored = _ignored(root, folder.name)
        yield Case(folder.name, GOOD, *_judged(folder, trust, ignored))
        for change in ("a byte changed", "a file more", "a file less"):
            with tempfile.TemporaryDirectory() as place:
                copy = Path(place, folder.name)
                shutil.copytree(folder, copy)
                _damage(copy, change)
                yield Case(f"{folder.name}, {change}", BAD, *_judged(copy, trust, ignored))


def _ignored(root: Path, name: str) -> tuple[str, ...]:
    """What the corpus's own script tells the verifier to ignore: releases before 1.1 did not write that down."""
    script = root / f"scripts/tests/test-verify-{name}.sh"
    return tuple(
        re.findall(rf"--ignore-paths \S*{re.escape(name)}/(\S+)", script.read_text() if script.exists() else "")
    )


def _damage(folder: Path, change: str) -> None:
    file = folder / "signme-1"
    if change == "a byte changed":
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    elif change == "a file less":
        file.unlink()
    else:
        (folder / "more").write_text("more")


def _judged(folder: Path, trust: Trust, ignored: tuple[str, ...]) -> tuple[str, str]:
    verdict = verdict_on((folder / SIGNATURE_FILE).read_bytes(), trust, NOW)
    if not isinstance(verdict, Signed):
        return BAD, verdict
    signed = replace(verdict.manifest, ignored=(*verdict.manifest.ignored, *ignored))
    if WHOLE in signed.files:  # one file was signed, and the folder says nothing: its neighbours count as more files
        others = [file.name for file in folder.iterdir() if file.name not in ("signme-1", SIGNATURE_FILE)]
        found = f"not signed: {', '.join(others)}" if others else ""
    else:
        found = difference(folder, signed, SIGNATURE_FILE)
    if found:
        return BAD, found
    for name in signed.files:
        try:
            with (folder / ("signme-1" if name == WHOLE else name)).open("rb") as opened:
                if not signed.matches(name, opened):
                    return BAD, f"{name} is another"
        except FileNotFoundError:
            return BAD, f"{name} is missing"
    return GOOD, f"signed by {verdict.signer}"


def trust_of(roots: list[Path]) -> Trust:
    """Of the keys that model-transparency keeps beside its models, and whom its scripts name."""
    for root in roots:
        keys = root / "scripts/tests/keys/certificate"
        if keys.is_dir():
            scripts = "".join(script.read_text() for script in root.glob("scripts/tests/*sigstore.sh"))
            return Trust(
                {"signing-key": (keys / "signing-key-pub.pem").read_bytes()},
                (keys / "ca-cert.pem").read_bytes(),
                ("*",),
                (files("sigstore") / "_store" / STORE / "trusted_root.json").read_bytes(),
                tuple(dict.fromkeys(IDENTITY.findall(scripts))),
            )
    return Trust()


def main(roots: list[Path]) -> int:
    trust = trust_of(roots)
    cases = [case for root in roots for judged in (vectors, signed_models) for case in judged(root, trust)]
    shown = [(each.name, each.expected, each.found, each.why, "" if each.is_as_said else "OTHERWISE") for each in cases]
    print_table("cases of OpenSSF Model Signing", ("case", "is to be", "is", "why", ""), shown)
    wrong = sum(not each.is_as_said for each in cases)
    print(f"{len(cases)} cases, {wrong} judged otherwise than the corpus says")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="+", type=Path, metavar="DIR", help="checkout of one of the two repositories")
    sys.exit(main(parser.parse_args().roots))
