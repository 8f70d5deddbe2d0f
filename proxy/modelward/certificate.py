"""Certificates, keys and authorities as files: loaded into an SSLContext, and what is wrong with them as problems."""

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from modelward.bounded_file import read_regular
from modelward.problem import Gather, Problem, ProblemsFound

# RFC 9113, section 9.2.2: of TLS 1.2 only suites with ephemeral keys and AEAD; those of TLS 1.3 all are.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
HTTP2 = "h2"
SOON = timedelta(days=14)
# a bundle of all public authorities has 250 KB
LARGEST = 4 << 20


class Certificate(Struct, frozen=True):
    """What a certificate file says about its first certificate. section: the key of the configuration it is under."""

    section: str
    file: Path
    subject: str
    not_before: datetime
    not_after: datetime
    loose: tuple[Problem, ...] = ()
    """What others than this user may do with its key."""

    def notes(self, now: datetime) -> list[Problem]:
        """Where peers refuse it now or soon will, and where others have a hold on its key."""
        return [*self._validity(now), *self.loose]

    def _validity(self, now: datetime) -> list[Problem]:
        where = str(self.file)
        if now < self.not_before:
            what, how = f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC", "Check the clock"
        elif now >= self.not_after:
            what, how = f"expired on {self.not_after:%Y-%m-%d %H:%M} UTC", "Renew it: peers refuse it"
        elif now >= self.not_after - SOON:
            what, how = f"expires on {self.not_after:%Y-%m-%d %H:%M} UTC", "Renew it"
        else:
            return []
        return [Problem(f"{self.section}.certificate {what}", where, how=how)]

    def __str__(self) -> str:
        return f"{self.subject}, valid until {self.not_after:%Y-%m-%d %H:%M} UTC"


def harden(context: ssl.SSLContext) -> ssl.SSLContext:
    """TLS 1.2 or 1.3 as HTTP/2 wants them, for either side."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([HTTP2])
    return context


def is_http2(tls: ssl.SSLObject) -> bool:
    """Whether both sides agreed on HTTP/2."""
    return tls.selected_alpn_protocol() == HTTP2


def read(file: Path, key: str) -> bytes:
    """The bytes of the file that the setting `key` names. Raises ProblemsFound, also for one that anybody may write."""
    try:
        data = read_regular(file, LARGEST)
        mode = os.stat(file).st_mode
    except OSError as error:
        why = error.strerror or str(error)
        raise ProblemsFound(
            [Problem(f"{key} cannot be read", str(file), why, "Check the path and its mode")]
        ) from error
    if mode & stat.S_IWOTH:
        why = "every user of this machine may put another in its place"
        raise ProblemsFound([Problem(f"{key} can be written by anybody", str(file), why, f"chmod o-w {file}")])
    return data


def _loose(file: Path, key: str) -> tuple[Problem, ...]:
    """Notes, not faults: Kubernetes mounts secrets readable by all of a container, with fsGroup writable by a group."""
    mode = os.stat(file).st_mode
    found = []
    if mode & stat.S_IROTH:
        how = f"chmod o-r {file}, or defaultMode: 0400 of a Kubernetes secret"
        found.append(Problem(f"{key} can be read by anybody", str(file), how=how))
    if mode & stat.S_IWGRP:
        found.append(Problem(f"{key} can be written by its group", str(file), how=f"chmod g-w {file}"))
    return tuple(found)


def load_pair(context: ssl.SSLContext, section: str, certificate: Path, key: Path) -> Certificate:
    """Loads a certificate (PEM, with its chain) and its key into `context`. Raises ProblemsFound."""
    from cryptography import x509  # noqa: PLC0415 - only where there is TLS

    name = f"{section}.certificate"

    def first_certificate() -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificates(read(certificate, name))[0]
        except ValueError as error:
            how = "Write PEM: the server's certificate first, then its chain"
            raise ProblemsFound([Problem(f"{name} holds no certificate", str(certificate), how=how)]) from error

    files = Gather()
    first = files.step(first_certificate)
    files.step(lambda: read(key, f"{section}.key"))
    files.end()
    assert first is not None
    loose = _loose(key, f"{section}.key")
    try:
        # an encrypted key fails: without a password OpenSSL would ask the terminal
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ProblemsFound([_refused_pair(section, certificate, key, error)]) from error
    subject = first.subject.rfc4514_string() or "no subject"
    return Certificate(section, certificate, subject, first.not_valid_before_utc, first.not_valid_after_utc, loose)


def _refused_pair(section: str, certificate: Path, key: Path, error: Exception) -> Problem:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        how = f"Name the key that {certificate} was made with"
        return Problem(f"{section}.key does not match {section}.certificate", str(key), how=how)
    how = "Write an unencrypted PEM key, readable by this user alone"
    why = str(error)
    if "PEM lib" in why or isinstance(error, ValueError):  # which OpenSSL says of all that it cannot read
        why = "it is encrypted" if b"ENCRYPTED" in read(key, f"{section}.key") else "it is no PEM key"
    return Problem(f"{section}.key cannot be used", str(key), why, how)


def load_authorities(context: ssl.SSLContext, key: str, file: Path) -> bytes:
    """Lets `context` trust the certificates (PEM) that the setting `key` names; returns them. Raises ProblemsFound."""
    data = read(file, key)
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        how = "Write one or more PEM certificates"
        raise ProblemsFound([Problem(f"{key} holds no certificate", str(file), how=how)]) from error
    return data


def utc_now() -> datetime:
    return datetime.now(UTC)
