"""Whose budget pays behind proxies: the socket's peer, unless it is a proxy that is trusted."""

from __future__ import annotations

import grpc

from tests.conftest import Serve
from tests.e2e.test_access import OK, RESOURCE_EXHAUSTED, infer_on
from tests.models import add_one
from tests.support import EmbeddedServer

LIMIT = {"rate": "1/h", "burst": 3}


def codes(server: EmbeddedServer, values: list[str]) -> list[grpc.StatusCode]:
    """Of one call after the other on one connection, each with an x-forwarded-for."""
    with grpc.insecure_channel(server.grpc) as channel:
        return [infer_on(channel, (("x-forwarded-for", value),))[0] for value in values]


def test_a_thousand_forged_addresses_are_one_bucket(serve: Serve) -> None:
    server = serve({"add": add_one()}, limits__peer=LIMIT)
    forged = [f"{i % 256}.{i // 256}.3.4" for i in range(1000)]
    told = codes(server, forged)
    assert told.count(OK) == 3
    assert told[3:] == [RESOURCE_EXHAUSTED] * 997


def test_behind_a_trusted_proxy_each_caller_has_its_own(serve: Serve) -> None:
    server = serve({"add": add_one()}, limits__peer=LIMIT, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"])
    assert codes(server, ["1.1.1.1"] * 4) == [OK, OK, OK, RESOURCE_EXHAUSTED]
    assert codes(server, ["2.2.2.2, 10.0.0.1"] * 4) == [OK, OK, OK, RESOURCE_EXHAUSTED]
    forged = [f"{i}.9.9.9, 3.3.3.3" for i in range(10)]
    assert codes(server, forged).count(OK) == 3, "what a caller puts before its own address counts for nothing"
    assert codes(server, ["what?"] * 4).count(OK) == 3, "what is no address is the proxy's own"


def test_an_identity_limit_without_identities_goes_by_the_address_too(serve: Serve) -> None:
    server = serve({"add": add_one()}, limits__identity=LIMIT, trusted_proxies=["127.0.0.1"])
    assert codes(server, ["1.1.1.1"] * 4) == [OK, OK, OK, RESOURCE_EXHAUSTED]
    assert codes(server, ["2.2.2.2"]) == [OK]
