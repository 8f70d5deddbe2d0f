"""The server's side of TLS: its certificate, whom it lets in, and what it loads again when the files change."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from modelward.certificate import Certificate, harden, load_authorities, load_pair, utc_now
from modelward.config.tls import Tls
from modelward.fingerprint import Fingerprint, fingerprint
from modelward.problem import Gather, ProblemsFound

log = logging.getLogger("modelward.tls")

SECTION = "tls"
POLL_SECONDS = 1.0


class Material(Struct, frozen=True):
    """What new connections are met with. Never changed: files that changed make another."""

    context: ssl.SSLContext
    certificate: Certificate
    fingerprint: Fingerprint
    """Of the files, from before they were read."""
    authorities: bytes = b""
    """Whose certificates clients may show."""


def load_material(tls: Tls, section: str = SECTION) -> Material:
    """Reads all files of the section. Raises ProblemsFound."""
    before = fingerprint(_files(tls))
    context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    # gRPC's connections live for hours: tickets would spare few handshakes, and outlive a changed client_ca
    context.num_tickets = 0
    client_ca, authorities = tls.client_ca, b""
    files = Gather()
    certificate = files.step(lambda: load_pair(context, section, tls.certificate, tls.key))
    if client_ca is not None:
        authorities = files.step(lambda: load_authorities(context, f"{section}.client_ca", client_ca)) or b""
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_certificate else ssl.CERT_OPTIONAL
    files.end()
    assert certificate is not None
    return Material(context, certificate, before, authorities)


def _files(tls: Tls) -> list[Path]:
    return [file for file in (tls.certificate, tls.key, tls.client_ca) if file is not None]


def clients(tls: Tls) -> str:
    """Which client certificates are asked for, in words."""
    if tls.client_ca is None:
        return "no client certificates"
    return f"client certificates {'required' if tls.require_client_certificate else 'optional'}"


class LiveMaterial:
    """The material of now. `watch` replaces it when the files change; what is open stays with what it began with.

    A new context, not new files in the old one: an authority that was taken out of client_ca is forgotten, and a key
    that does not match its certificate leaves the old pair whole.
    """

    def __init__(self, tls: Tls, material: Material | None = None, section: str = SECTION) -> None:
        """material: of these files, None to load it. section: of the configuration. Raises ProblemsFound."""
        self._section = section
        self.reloads = 0
        self.failures = 0
        self._replacing = threading.Lock()
        self._take(tls, material or load_material(tls, section))

    def replace(self, tls: Tls, material: Material) -> None:
        """Another configuration's files, loaded when they were checked."""
        with self._replacing:
            if tls != self._tls:
                self._take(tls, material)

    def _take(self, tls: Tls, material: Material) -> None:
        self._tls = tls
        self._loaded = self._seen = material.fingerprint
        self.current = material
        self._say_notes()

    async def watch(self, on_authorities: Callable[[], None] = lambda: None) -> None:
        """Looks once a second, until it is cancelled. on_authorities: called after client_ca holds others."""
        loop = asyncio.get_running_loop()
        before = self.current.authorities
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await loop.run_in_executor(None, self.poll)
            if self.current.authorities != before:
                before = self.current.authorities
                on_authorities()

    def poll(self) -> None:
        """Loads files that differ from what was loaded, once they have been the same for two polls."""
        tls = self._tls
        seen = fingerprint(_files(tls))
        # a certificate and its key are written one after the other: between the two they do not match
        settled, self._seen = seen == self._seen, seen
        if not settled or seen == self._loaded:
            return
        self._loaded = seen
        try:
            material = load_material(tls, self._section)
        except ProblemsFound as found:
            self.failures += 1
            log.error("the old certificate stays: %s", found)
            return
        with self._replacing:
            if self._tls is not tls:
                return
            self.current = material
        self.reloads += 1
        log.info("certificate reloaded: %s", self.current.certificate)
        self._say_notes()

    def _say_notes(self) -> None:
        for note in self.current.certificate.notes(utc_now()):
            log.warning("%s", note)
