"""mTLS of the admin API: the listener's TLS, with clients' certificates required."""

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
    files.step(lambda: load_authorities(context, f"{SECTION}.client_ca", tls.client_ca))
    files.end()
    assert certificate is not None
    return certificate


def server_side(tls: AdminTls) -> Tls:
    """No client without a certificate of client_ca."""
    return Tls(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca, require_client_certificate=True)
