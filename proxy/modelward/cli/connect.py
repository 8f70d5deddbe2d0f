"""How a client of a model's server connects: TLS, and credentials that are never shown nor on the command line."""

import argparse
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc

from modelward.certificate import load_pair, read
from modelward.problem import ProblemsFound

Metadata = Sequence[tuple[str, str]]

KEY_VARIABLE, TOKEN_VARIABLE = "MODELWARD_API_KEY", "MODELWARD_TOKEN"
SCHEME = "Bearer"


class ConnectProblem(Exception):
    """The flags cannot mean anything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls",
        action="store_true",
        help="use TLS, with the certificate authorities of the system unless --ca is given",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificate authorities of the server, PEM; implies --tls"
    )
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="certificate of the client, PEM (mTLS)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="key of --certificate, PEM (mTLS)")
    parser.add_argument(
        "--server-name", metavar="NAME", help="name in the server's certificate, where it is not the host"
    )
    credential = parser.add_mutually_exclusive_group()
    credential.add_argument(
        "--api-key", type=Path, metavar="FILE", help=f"file that holds an API key; or ${KEY_VARIABLE}"
    )
    credential.add_argument("--token", type=Path, metavar="FILE", help=f"file that holds a token; or ${TOKEN_VARIABLE}")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="metadata of the request; may be repeated"
    )


def is_plain(args: argparse.Namespace) -> bool:
    """Whether the flags ask for no TLS."""
    return not (args.tls or args.ca or args.certificate)


def channel(args: argparse.Namespace, address: str, options: Sequence[tuple[str, object]]) -> grpc.Channel:
    """Raises ConnectProblem."""
    if "://" in address and not address.startswith("dns:"):
        scheme, _, rest = address.partition("://")
        tls = ", and add --tls or --ca FILE" if scheme == "https" and is_plain(args) else ""
        raise ConnectProblem(f"{address} is no address of gRPC: leave {scheme}:// out, {rest.rstrip('/')}{tls}")
    if (args.certificate is None) != (args.key is None):
        raise ConnectProblem("--certificate and --key come together")
    if is_plain(args):
        if args.server_name is not None:
            raise ConnectProblem("--server-name is of TLS: add --tls")
        return grpc.insecure_channel(address, options=[*options])
    ca, key, chain = (_read(file, flag) for file, flag in (
        (args.ca, "--ca"), (args.key, "--key"), (args.certificate, "--certificate")
    ))  # fmt: skip
    _check_pair(args)
    if args.server_name is not None:
        options = [*options, ("grpc.ssl_target_name_override", args.server_name)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, chain), options=[*options])


def _check_pair(args: argparse.Namespace) -> None:
    """gRPC says of a pair that it cannot use only that there is no handshaker. Raises ConnectProblem."""
    if args.certificate is None:
        return
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "", args.certificate, args.key)
    except ProblemsFound as found:
        told = [f"{each.what} ({each.where})" for each in found.problems]
        words = "; ".join(told).replace(".key ", "--key ").replace(".certificate ", "--certificate ")
        raise ConnectProblem(words) from None


def metadata(args: argparse.Namespace) -> Metadata:
    """Of every request. Raises ConnectProblem, which shows no credential."""
    found = [_header(text) for text in args.header]
    credential = _credential(args)
    if credential is not None:
        if any(name == "authorization" for name, _ in found):
            raise ConnectProblem("the header authorization is given as well as a key or a token")
        found.append(("authorization", f"{SCHEME} {credential}"))
    return found


def _credential(args: argparse.Namespace) -> str | None:
    for file, flag in ((args.api_key, "--api-key"), (args.token, "--token")):
        if file is not None:
            return _clean((_read(file, flag) or b"").decode("ascii", "replace"), f"{flag} {file}")
    for variable in (KEY_VARIABLE, TOKEN_VARIABLE):
        if text := os.environ.get(variable, ""):
            return _clean(text, f"${variable}")
    return None


def _clean(text: str, where: str) -> str:
    credential = text.strip()
    if not credential or not credential.isascii() or not credential.isprintable() or " " in credential:
        raise ConnectProblem(f"{where} does not hold one key or token")
    return credential


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise ConnectProblem(f"--header {name!r} is not NAME:VALUE")
    return name.strip().lower(), value.strip()


def _read(file: Path | None, flag: str) -> bytes | None:
    if file is None:
        return None
    try:
        return read(file, flag)
    except ProblemsFound as found:
        raise ConnectProblem(str(found)) from None
