"""Signatures of approvers on configuration files. FILE.sig is a signed note (https://c2sp.org/signed-note) over this:

    modelward configuration
    fraud/model.yaml        its place in the configuration; `configuration` for the main file
    sha256:...              of FILE
    2026-01-31T12:00:00Z    when it was signed first

The place: what was signed for one model is no approval for another. The time bounds its life: an old file with its old
signature is none either. Nor is one on a file that was followed, and whose place another has taken since.
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Mapping
from math import inf
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.approvals.approved import Approved
from modelward.approvals.approver import keys as keys_of
from modelward.approvals.objections import Objections, file_of
from modelward.audit.note import LARGEST_NOTE, Note, NotSigned, Signer, Verifier, signed
from modelward.bounded_file import read_regular
from modelward.config.approvals import public_key
from modelward.config.schema import Config
from modelward.config.settings_files import SettingsFiles, digest_of, signatures_of
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound

TITLE = "modelward configuration"
AHEAD = 300.0  # seconds that the signer's clock may be ahead
LARGEST_KEY = 1 << 14
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TEXT = re.compile(rf"{TITLE}\n([^\n]+)\n(sha256:[0-9a-f]{{64}})\n([0-9TZ:-]{{20}})\n")

log = logging.getLogger("modelward.approvals")


def private_key(file: Path) -> Ed25519PrivateKey:
    """Of a PEM file. Raises ProblemsFound."""
    how = "Make one: openssl genpkey -algorithm ed25519 -out KEY.pem"
    try:
        key = serialization.load_pem_private_key(read_regular(file, LARGEST_KEY), None)
    except OSError as error:
        raise ProblemsFound(
            [Problem("the key cannot be read", str(file), error.strerror or str(error), how)]
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise ProblemsFound(
            [Problem("this is no private key in PEM without a password", str(file), how=how)]
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ProblemsFound([Problem("this is no Ed25519 key", str(file), how=how)])
    return key


def public_line(key: Ed25519PrivateKey) -> str:
    """As `approvals.keys` takes it."""
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode().splitlines()[1]


def sign(
    data: bytes, place: str, name: str, key: Ed25519PrivateKey, *, now: float, before: bytes | None = None
) -> bytes:
    """The note. place: of the file, as SettingsFiles.texts has it. before: a note on the same data and place, whose
    signatures stay; those of another do not, and none where its signer signs again: that renews the time. Raises
    NotSigned where `before` is no such note."""
    signer = Signer(name, key.private_bytes_raw())
    if before is not None:
        note = Note.parse(before)
        own = any(each == name for each, _ in note.signatures)
        if _parts_of(note)[:2] == (place, digest_of(data)) and not own:
            lines = before.decode().rpartition("\n\n")[2]
            return f"{note.text}\n{lines}{signer.sign(note.text)}".encode()
    when = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime(_TIME)
    return signed(f"{TITLE}\n{place}\n{digest_of(data)}\n{when}\n", [signer])


def signers(
    note: bytes,
    data: bytes,
    place: str,
    keys: Mapping[str, str],
    *,
    now: float,
    life: float,
    after: float = -inf,
    rejected: float = -inf,
) -> tuple[str, ...]:
    """Names of those whose signature on this data at this place holds now. life: seconds. after: when other data took
    its place, the last time. rejected: when it was, the last time. Raises NotSigned where it can be none's."""
    parsed = Note.parse(note)
    of, digest, at = _parts_of(parsed)
    if of != place:
        raise NotSigned(f"it is for {of}, not for {place}")
    if digest != digest_of(data):
        raise NotSigned(f"it is of another file: {digest}")
    if not at - AHEAD <= now < at + life:
        raise NotSigned("it was signed too long ago" if now > at else "it was signed in the future")
    if at <= after:
        raise NotSigned("another file has taken its place since it was signed; sign it again where it is to come back")
    if at <= rejected:
        raise NotSigned("it was rejected; propose it again with modelward reload, and sign it again")
    found, why = [], "nobody of approvals.keys who is an approver has signed it"
    for name, public in keys.items():
        try:
            parsed.verify(Verifier(name, public_key(public)))
            found.append(name)
        except NotSigned as error:
            why = str(error) if any(name == each for each, _ in parsed.signatures) else why
    if not found:
        raise NotSigned(why)
    return tuple(found)


def _parts_of(note: Note) -> tuple[str, str, float]:
    """Place, digest, and when it was signed."""
    found = _TEXT.fullmatch(note.text)
    if found is None:
        raise NotSigned("it is no signature of a configuration")
    try:
        at = datetime.datetime.strptime(found[3], _TIME).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise NotSigned("the time in it is none") from None
    return found[1], found[2], at.timestamp()


def approvers(
    files: SettingsFiles, approved: Approved, config: Config, now: float, objections: Objections, *, asked: bool
) -> tuple[str, ...]:
    """Names, one of each person, of those who have signed every file that differs from those approved last. A file that
    is gone, nobody can have signed. asked: an operator has proposed the files."""
    before, keys = approved.data, keys_of(config)
    changed = [name for name, data in files.texts.items() if before.get(name) != data]
    if config.approvals is None or not keys or set(before) - set(files.texts):
        return ()
    names, person = set(keys), config.approvals.person
    for name in changed:
        file, data = signatures_of(files.places[name]), files.texts[name]
        try:
            note = read_regular(file, LARGEST_NOTE)
            life = config.approvals.expire / SECOND
            after = approved.replaced_at(name, data)
            rejected = objections.after(file_of(name, data), asked=asked)
            names &= {*signers(note, data, name, keys, now=now, life=life, after=after, rejected=rejected)}
            claimed = {*map(person, objections.claimants(file_of(name, data)))}
            if own := {each for each in names if person(each) in claimed}:
                log.warning("%s: of %s this is no approval: the change is their own", file, ", ".join(sorted(own)))
                names -= own
        except FileNotFoundError:
            return ()
        except (OSError, NotSigned) as error:
            log.warning("%s: this is no approval: %s", file, error)
            return ()
    return tuple({person(name): name for name in sorted(names)}.values()) if changed else ()
