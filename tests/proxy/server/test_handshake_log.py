"""TLS handshakes that fail are told by their reason, a line for each reason and pause."""

import logging
import ssl

import pytest

from modelward.server.handshake_log import BAD_CERTIFICATE, GONE, LATE, NO_TLS, OTHER, HandshakeLog, reason_of

PEER = "ipv4:127.0.0.1:50000"


def of_openssl(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


def test_a_reason_is_one_of_a_closed_list() -> None:
    assert reason_of(of_openssl("HTTP_REQUEST")) == NO_TLS
    assert reason_of(of_openssl("CERTIFICATE_VERIFY_FAILED")) == BAD_CERTIFICATE
    assert reason_of(of_openssl("A_REASON_OF_TOMORROW")) == OTHER
    assert reason_of(ssl.SSLError()) == OTHER
    assert reason_of(TimeoutError()) == LATE
    assert reason_of(ConnectionAbortedError("SSL handshake is taking longer than 5 seconds")) == LATE
    assert reason_of(ConnectionResetError()) == GONE
    assert reason_of(ValueError("\\x00")) == OTHER


def test_each_reason_has_one_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    handshakes = HandshakeLog()
    for _ in range(3):
        handshakes.add(NO_TLS, PEER)
    handshakes.add(BAD_CERTIFICATE, PEER)
    handshakes.add(GONE, PEER)
    handshakes.take(100.0)
    assert caplog.messages == [
        f"3 TLS handshakes failed, the last with {PEER}: {NO_TLS}",
        f"1 TLS handshake failed, the last with {PEER}: {BAD_CERTIFICATE}",
    ]
    caplog.clear()
    for second in range(101, 110):
        handshakes.add(NO_TLS, PEER)
        handshakes.take(float(second))
    assert not caplog.messages
    handshakes.take(110.0)
    assert caplog.messages == [f"9 TLS handshakes failed, the last with {PEER}: {NO_TLS}"]
    assert handshakes.count == 14
