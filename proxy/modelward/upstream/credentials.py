"""TLS towards upstreams: whom we trust and what we show, for requests and for the control plane's questions alike.

Files are read again for every connection, so that a renewed certificate needs no word to us.
"""

import ssl

from modelward.certificate import Certificate, harden, load_authorities, load_pair
from modelward.config.schema import Config
from modelward.config.tls import UpstreamTls
from modelward.problem import Gather, Problem, ProblemsFound

SECTION = "upstream_tls"


def client_context(tls: UpstreamTls) -> ssl.SSLContext:
    """For connections that carry requests. Raises ProblemsFound."""
    return _loaded(tls)[0]


def examine(config: Config) -> tuple[list[Certificate], list[Problem]]:
    """The certificates that upstreams are shown, and what is wrong with any file of an upstream_tls."""
    sections = [config.upstream_tls, *(settings.upstream_tls for settings in config.models.values())]
    certificates: list[Certificate] = []
    problems: list[Problem] = []
    for tls in dict.fromkeys(section for section in sections if section is not None):
        try:
            certificate = _loaded(tls)[1]
        except ProblemsFound as found:
            problems += found.problems
        else:
            certificates += [certificate] if certificate is not None else []
    return certificates, problems


def _loaded(tls: UpstreamTls) -> tuple[ssl.SSLContext, Certificate | None]:
    context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    shown, key = tls.certificate, tls.key
    files = Gather()
    files.step(lambda: load_authorities(context, f"{SECTION}.ca", tls.ca))
    certificate = None
    if shown is not None and key is not None:
        certificate = files.step(lambda: load_pair(context, SECTION, shown, key))
    files.end()
    return context, certificate
