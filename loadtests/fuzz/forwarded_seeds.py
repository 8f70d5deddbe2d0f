"""The first corpus of forwarded_fuzzer.c: python -m loadtests.fuzz.forwarded_seeds FOLDER"""

import ipaddress
import sys
from pathlib import Path

HEADER, TIME, REQUEST = 0, 1, 2
LATER = 4  # with TIME: a minute
VALUES = [
    b"1.2.3.4", b"9.9.9.9, 1.2.3.4, 10.1.2.3", b"1.2.3.4:443", b"[2001:db8::1]:443, fd00::1", b" , ,1.2.3.4,, ",
    b"::ffff:10.0.0.1", b"1.2.3.4, garbage, 10.1.2.3", b"unknown", b"[::1", b"::1%eth0", b"64:ff9b::192.0.2.1",
    b"2002:c000:204::1", b"2001:db8:0:1::1", b",".join([b"fd00::"] * 34),
]  # fmt: skip


def network(text: str) -> bytes:
    """As the data plane holds it: IPv4 within IPv6."""
    found = ipaddress.ip_network(text)
    if found.version == 6:
        return found.network_address.packed + bytes([found.prefixlen])
    return bytes(10) + b"\xff\xff" + found.network_address.packed + bytes([96 + found.prefixlen])


def header(value: bytes) -> bytes:
    return bytes([HEADER, len(value)]) + value


def request(network: int, member: int) -> bytes:
    return bytes([REQUEST + 4 * network, member])


def seeds() -> dict[str, bytes]:
    trusted = network("10.0.0.0/8") + network("fd00::/8")
    made = {f"value-{i}": bytes([2, 16]) + trusted + header(value) for i, value in enumerate(VALUES)}
    made |= {f"alone-{i}": bytes([0, 8]) + header(value) for i, value in enumerate(VALUES)}
    crowd = b"".join(request(0, member) for member in range(6))
    made["crowd"] = bytes([0, 16]) + crowd + bytes([TIME, 30]) + crowd + bytes([TIME | LATER, 1]) + crowd
    many = b"".join(request(number, 1) for number in range(10))
    made["many"] = bytes([0, 16]) + many + bytes([TIME | LATER, 0]) + many + bytes([TIME | LATER, 1]) + many
    return made


def main() -> None:
    folder = Path(sys.argv[1])
    for name, seed in seeds().items():
        (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
