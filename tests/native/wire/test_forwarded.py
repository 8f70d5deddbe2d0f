"""Which address of x-forwarded-for is the peer's."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.config.proxies import networks
from modelward_native.testing.forwarded import peer

TRUSTED = networks(("10.0.0.0/8", "192.168.1.7", "fd00::/8"))


def packed(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4, 10.1.2.3", "1.2.3.4"),
        ("1.2.3.4,10.1.2.3 , 192.168.1.7", "1.2.3.4"),
        ("1.2.3.4, 192.168.1.8", "192.168.1.8"),
        ("1.2.3.4:443", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443, fd00::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        (" , ,1.2.3.4,, ", "1.2.3.4"),
        ("garbage, 1.2.3.4", "1.2.3.4"),
        ("::ffff:10.0.0.1", None),
        ("1.2.3.4, garbage", None),
        ("1.2.3.4, garbage, 10.1.2.3", None),
        ("10.1.2.3", None),
        ("", None),
        ("unknown", None),
        ("1.2.3.4:", None),
        ("1.2.3.4:port", None),
        ("1.2.3.4.5", None),
        ("[1.2.3.4", None),
        ("[::1]x", None),
        ("::1%eth0", None),
        (",".join(["1.2.3.4"] + ["10.0.0.1"] * 100), None),
    ],
)
def test_the_right_most_address_that_is_no_proxys(value: str, address: str | None) -> None:
    assert peer(value.encode(), TRUSTED) == (packed(address) if address else None)


def test_an_address_with_a_zero_byte_is_none() -> None:
    assert peer(b"1.2.3.4\0", TRUSTED) is None


def oracle(value: str, trusted: list[str]) -> str | None:
    for item in reversed(value.split(",")):
        text = item.strip(" \t")
        if not text:
            continue
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        if not any(address in ipaddress.ip_network(network) for network in trusted):
            return text
    return None


OCTET = st.sampled_from(["10", "0", "192", "168", "1", "7", "255"])
ADDRESS = st.one_of(
    st.lists(OCTET, min_size=4, max_size=4).map(".".join),
    st.sampled_from(["fd00::5", "2001:db8::7", "::", "x", "", "1.2.3", "01.2.3.4"]),
)


@given(st.lists(ADDRESS, max_size=8).map(", ".join))
def test_it_agrees_with_a_slow_twin(value: str) -> None:
    told = oracle(value, ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"])
    assert peer(value.encode(), TRUSTED) == (packed(told) if told else None)


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(value: bytes) -> None:
    found = peer(value, TRUSTED)
    assert found is None or len(found) == 16
