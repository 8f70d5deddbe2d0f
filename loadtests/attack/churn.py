"""Connections that come and go, and handshakes that are made for nothing."""

from __future__ import annotations

import ssl
import time

from loadtests.attack.attack import WAIT_SECONDS, Outcome, attack
from loadtests.attack.raw import Target

PER_SECOND = 500
SECONDS = 6.0


def _paced(target: Target, scale: float, first: bytes) -> Outcome:
    """Connects at a rate, says its first bytes and leaves."""
    outcome = Outcome()
    began, count = time.monotonic(), round(PER_SECOND * SECONDS * scale)
    for i in range(count):
        while time.monotonic() - began < i / PER_SECOND:
            time.sleep(0.001)
        try:
            with target.connect_tcp() as plain:
                plain.sendall(first)
        except OSError:
            outcome.refused()
            continue
        outcome.sent += 1
        outcome.refused(0.0)  # it has left by itself
    return outcome


@attack("churn", f"{PER_SECOND} connections a second, each left at once")
def churn(target: Target, scale: float) -> Outcome:
    return _paced(target, scale, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")


@attack("churn-garbage", f"{PER_SECOND} connections a second that speak something else")
def churn_garbage(target: Target, scale: float) -> Outcome:
    return _paced(target, scale, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(200))


@attack("churn-handshakes", "TLS handshakes as fast as one client makes them, each left at once", tls_only=True)
def churn_handshakes(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    until = time.monotonic() + SECONDS * scale
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            with target.connect():
                outcome.sent += 1
        except OSError:
            outcome.refused(time.monotonic() - began)
        else:
            outcome.refused(0.0)
    return outcome


@attack("no-alpn", "TLS without an agreement on HTTP/2", tls_only=True)
def no_alpn(target: Target, scale: float) -> Outcome:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outcome = Outcome()
    for _ in range(round(50 * scale)):
        outcome.sent += 1
        began = time.monotonic()
        try:
            with context.wrap_socket(target.connect_tcp()) as secured:
                secured.settimeout(WAIT_SECONDS)
                if secured.recv(1) == b"":
                    outcome.refused(time.monotonic() - began)
                else:
                    outcome.connections += 1
        except OSError:
            outcome.refused(time.monotonic() - began)
    return outcome


@attack("plain-to-tls", "HTTP/2 in plain text to a TLS listener", tls_only=True)
def plain_to_tls(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    for _ in range(round(50 * scale)):
        outcome.sent += 1
        began = time.monotonic()
        with target.connect_tcp() as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            plain.settimeout(WAIT_SECONDS)
            try:
                while plain.recv(4096):
                    pass
            except TimeoutError:
                outcome.connections += 1
                continue
            except OSError:
                pass
            outcome.refused(time.monotonic() - began)
    return outcome
