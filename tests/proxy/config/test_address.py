"""Addresses of listeners."""

import pytest

from modelward.config.address import Address, parse_address
from modelward.config.units import UnitError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8001", Address(host="127.0.0.1", port=8001)),
        ("[::1]:0", Address(host="::1", port=0)),
        ("localhost:65535", Address(host="localhost", port=65535)),
        ("unix:/run/modelward.sock", Address(path="/run/modelward.sock")),
    ],
)
def test_an_address_is_read_and_written_back_the_same(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "8001",
        ":8001",
        "*:8001",
        "::1:8001",
        "[::1]",
        "[::g]:1",
        "host:port",
        "host:65536",
        "host:-1",
        "a b:1",
        "host:٣",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UnitError) as refused:
        parse_address(text)
    assert "127.0.0.1:8001" in refused.value.how


@pytest.mark.parametrize("text", ["unix:relative.sock", "unix:", "unix:/nul\0", "unix:/" + "x" * 107])
def test_a_socket_path_is_absolute_and_fits_the_kernel(text: str) -> None:
    with pytest.raises(UnitError):
        parse_address(text)


def test_a_port_replaces_a_port_but_not_a_path() -> None:
    assert parse_address("[::1]:1").with_port(2) == parse_address("[::1]:2")
    with pytest.raises(UnitError):
        parse_address("unix:/s").with_port(2)
    with pytest.raises(UnitError):
        parse_address("host:1").with_port(65536)
