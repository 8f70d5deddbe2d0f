"""Addresses of upstreams, as they are written and as they are reached."""

import asyncio

import pytest

from modelward.config.units import UnitError
from modelward.config.upstream import UpstreamAddress, parse_upstream, resolve


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("10.0.0.5:8001", "10.0.0.5:8001", "dns:///10.0.0.5:8001"),
        ("dns:///triton:8001", "triton:8001", "dns:///triton:8001"),
        ("[2001:db8::1]:8001", "[2001:db8::1]:8001", "dns:///[2001:db8::1]:8001"),
        ("unix:/run/model.sock", "localhost", "unix:/run/model.sock"),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, authority: str, target: str) -> None:
    address = parse_upstream(text)
    assert (address.text, address.authority, address.target) == (text, authority, target)


@pytest.mark.parametrize("text", ["", "host", "host:", ":8001", "host:0", "host:65536", "host:http", "unix:run/a.sock"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(UnitError):
        parse_upstream(text)


def test_only_a_name_behind_dns_stands_for_all_its_addresses() -> None:
    assert parse_upstream("dns:///triton:8001").is_many
    assert not parse_upstream("triton:8001").is_many


def test_a_name_that_no_resolver_takes_is_an_error_like_one_that_is_unknown() -> None:
    with pytest.raises(OSError, match="is no host name"):
        asyncio.run(resolve(UpstreamAddress("", host="a" * 64 + ".example", port=1)))


def test_a_url_is_told_what_to_leave_out() -> None:
    with pytest.raises(UnitError) as found:
        parse_upstream("http://127.0.0.1:9001/")
    assert found.value.how == "Leave out http://: 127.0.0.1:9001"
