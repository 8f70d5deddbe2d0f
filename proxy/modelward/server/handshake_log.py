"""TLS handshakes that fail, told in the log: a line for each reason and pause, however many strangers ask for it."""

import logging
import ssl
import time

from modelward.plural import counted
from modelward.telemetry.paced import Paced

log = logging.getLogger("modelward.tls")

NO_HTTP2 = "the client does not offer HTTP/2 (ALPN h2)"
NO_TLS = "the client does not speak TLS"
NO_CERTIFICATE = "the client shows no certificate, and tls.require_client_certificate is true"
LATE = "it is not done within limits.timeouts.handshake"
NO_VERSION = "the client offers no TLS version or cipher that is taken"
DISTRUSTED = "the client does not trust the server's certificate"
BAD_CERTIFICATE = "the client's certificate is not of tls.client_ca, or not valid now"
GONE = "the client has gone"
OTHER = "it is broken"
# OpenSSL's reasons
REASONS = {
    "HTTP_REQUEST": NO_TLS,
    "HTTPS_PROXY_REQUEST": NO_TLS,
    "WRONG_VERSION_NUMBER": NO_TLS,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NO_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": BAD_CERTIFICATE,
    "NO_SHARED_CIPHER": NO_VERSION,
    "UNSUPPORTED_PROTOCOL": NO_VERSION,
    "VERSION_TOO_LOW": NO_VERSION,
    "NO_APPLICATION_PROTOCOL": NO_HTTP2,
    "TLSV1_ALERT_UNKNOWN_CA": DISTRUSTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": DISTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": DISTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": DISTRUSTED,
}


def reason_of(error: Exception) -> str:
    """Of a closed list: nothing in it is the client's text."""
    if isinstance(error, ssl.SSLError):
        # OpenSSL knows more such records than it has names for
        reason = getattr(error, "reason", None) or ""
        return REASONS.get(reason, NO_TLS if "PACKET_LENGTH" in reason else OTHER)
    if isinstance(error, TimeoutError) or "taking longer than" in str(error):
        return LATE
    return GONE if isinstance(error, OSError) else OTHER


class HandshakeLog:
    """count: of all failures. The peer in a line is the last one, as the socket tells it."""

    def __init__(self) -> None:
        self.count = 0
        self._new: dict[str, tuple[int, str]] = {}
        self._paced = Paced()

    def add(self, reason: str, peer: str) -> None:
        self.count += 1
        self._new[reason] = self._new.get(reason, (0, ""))[0] + 1, peer

    def take(self, now: float | None = None) -> None:
        """To be called about once a second. now: seconds, monotonic."""
        now = time.monotonic() if now is None else now
        for reason, (number, peer) in self._new.items():
            self._new[reason] = 0, peer

            def tell(all_of_them: int, reason: str = reason, peer: str = peer) -> None:
                log.log(
                    # which honest clients and probes of a port do every day
                    logging.DEBUG if reason == GONE else logging.WARNING,
                    "%s failed, the last with %s: %s", counted(all_of_them, "TLS handshake"), peer, reason,
                    extra={"fields": {"reason": reason, "handshakes": all_of_them, "peer": peer}},
                )  # fmt: skip

            self._paced.add(reason, number, now, tell)
