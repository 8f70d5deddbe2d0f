"""Which headers of a client reach an upstream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import INFER, request
from tests.e2e.test_relay import in_front, listening
from tests.e2e.test_undecoded import Plain

BODY = framed(request("plain", {"x": np.ones((1, 4), np.float32)}).SerializeToString())
THIS_HOP = [
    ("host", "other"),
    ("expect", "100-continue"),
    ("content-encoding", "gzip"),
    ("accept-encoding", "gzip"),
    ("modelward-identity", "root"),
    ("modelward_identity", "root"),
    ("grpc-internal-encoding-request", "gzip"),
    ("grpc_message", "x"),
    ("grpc-status", "0"),
    ("proxy_authorization", "x"),
    ("keep_alive", "x"),
    ("accept_encoding", "gzip"),
    ("content_encoding", "gzip"),
    ("content_length", "7"),
    ("content_type", "text/html"),
    ("transfer_encoding", "chunked"),
    ("http2_settings", "x"),
]
WHO_CALLED = [
    ("forwarded", "for=6.6.6.6"),
    ("forwarded-for", "6.6.6.6"),
    ("forwarded_for", "6.6.6.6"),
    ("via", "1.1 other"),
    ("x-forwarded", "for=6.6.6.6"),
    ("x-forwarded-user", "root"),
    ("x_forwarded_for", "6.6.6.6"),
    ("x-original-forwarded-for", "6.6.6.6"),
    ("x-envoy-external-address", "6.6.6.6"),
    ("x-real-ip", "6.6.6.6"),
    ("x-cluster-client-ip", "6.6.6.6"),
    ("client-ip", "6.6.6.6"),
    ("fastly-client-ip", "6.6.6.6"),
    ("cf-connecting-ip", "6.6.6.6"),
    ("x-remote-user", "root"),
    ("remote-user", "root"),
    ("x-ssl-client-verify", "SUCCESS"),
    ("ssl-client-verify", "SUCCESS"),
    ("x-auth-request-user", "root"),
]
ITS_OWN = [
    ("cookie", "a=b"),
    ("grpc-previous-rpc-attempts", "1"),
    ("viaduct", "1"),
    ("forwardedness", "1"),
    ("x-forwardedness", "1"),
    ("content-language", "de"),
    ("x-request-id", "7"),
    ("x-ip", "1"),
    ("x-session-id", "8"),
]


@contextlib.contextmanager
def passing(proxies: str = "[]") -> Iterator[Callable[[list[tuple[str, str]]], set[str]]]:
    """What the upstream sees of a request with these headers, by name."""
    peer = Plain()

    def send(headers: list[tuple[str, str]]) -> set[str]:
        with H2Client(server.grpc) as client:
            assert client.call(BODY, INFER, headers).code == 0
        return set(peer.metadata[-1])

    with (
        listening(peer) as (address, _),
        in_front(models__plain__upstreams=f"[{address}]", trusted_proxies=proxies) as server,
    ):
        yield send


def test_an_upstream_sees_nothing_that_belongs_to_this_hop_and_no_strangers_word_on_who_called() -> None:
    with passing() as send:
        for name, value in THIS_HOP + WHO_CALLED:
            assert name not in send([(name, value)])
        assert {name for name, _ in ITS_OWN} <= send(ITS_OWN)


def test_a_trusted_proxys_word_on_who_called_passes_and_what_belongs_to_this_hop_does_not() -> None:
    with passing('["127.0.0.1"]') as send:
        seen = send(THIS_HOP + WHO_CALLED)
        assert {name for name, _ in WHO_CALLED} <= seen
        assert not {name for name, _ in THIS_HOP} & seen
