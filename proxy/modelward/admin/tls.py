"""TLS of the admin API: the listener's, with clients' certificates required where nothing else proves who calls."""

import ssl

from modelward.certificate import Certificate, harden, load_authorities, load_pair
from modelward.config.tls import AdminTls, Tls
from modelward.problem import Gather

SECTION = "admin_tls"


def examine(tls: AdminTls) -> Certificate:
    """Reads all files of the section. Raises ProblemsFound."""
    context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    files = Gather()
    certificate = files.step(lambda: load_pair(context, SECTION, tls.certificate, tls.key))
    if (client_ca := tls.client_ca) is not None:
        files.step(lambda: load_authorities(context, f"{SECTION}.client_ca", client_ca))
    files.end()
    assert certificate is not None
    return certificate


def server_side(tls: AdminTls, *, tokens: bool) -> Tls:
    """tokens: one will do in place of a certificate."""
    required = tls.client_ca is not None and not tokens
    return Tls(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca, require_client_certificate=required)
