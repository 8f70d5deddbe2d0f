"""mTLS of the admin API: gRPC's own handshakes with files that were checked, and are loaded again when they change."""

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from proxy.certificate import Certificate, harden, load_authorities, load_pair, read
from proxy.config.tls import AdminTls
from proxy.fingerprint import fingerprint
from proxy.problem import ProblemsFound

SECTION = "admin_tls"

log = logging.getLogger("modelward.admin")


def examine(tls: AdminTls) -> Certificate:
    """Reads all files of the section. Raises ProblemsFound."""
    context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    certificate = load_pair(context, SECTION, tls.certificate, tls.key)
    load_authorities(context, f"{SECTION}.client_ca", tls.client_ca)
    return certificate


def credentials(tls: AdminTls) -> Any:
    """For add_secure_port: no client without a certificate of client_ca. Raises ProblemsFound."""
    files = _Files(tls)
    return grpc.dynamic_ssl_server_credentials(files.load(), files.changed, require_client_authentication=True)


class _Files:
    def __init__(self, tls: AdminTls) -> None:
        self._tls = tls
        self._files: tuple[Path, ...] = (tls.certificate, tls.key, tls.client_ca)
        self._seen = fingerprint(self._files)

    def load(self) -> Any:
        """Raises ProblemsFound."""
        examine(self._tls)
        certificate, key, authorities = (read(file, SECTION) for file in self._files)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)

    def changed(self) -> Any:
        """Called on a thread of gRPC's before each handshake; None: what was loaded last still counts."""
        seen = fingerprint(self._files)
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            loaded = self.load()
        except (ProblemsFound, OSError) as error:
            log.error("the old certificate of the admin API stays: %s", error)
            return None
        log.info("certificate of the admin API reloaded")
        return loaded
