"""`modelward audit witness`: remembers the checkpoints of other servers' audit logs, and cosigns what goes on from
them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from modelward.audit import key
from modelward.audit.note import COSIGNATURE, ED25519, Verifier, is_name
from modelward.audit.witness import Witness
from modelward.audit.witness_server import WitnessServer
from modelward.bounded_file import read_regular
from modelward.config.address import Address, parse_address
from modelward.config.units import UnitError
from modelward.problem import Problem, ProblemsFound

LARGEST_KEY = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1:8004", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument(
        "--folder", type=Path, required=True, metavar="FOLDER", help="where it keeps its key and what it has seen"
    )
    parser.add_argument(
        "--log",
        action="append",
        required=True,
        metavar="KEY|FILE",
        help="public key of a log that it cosigns, as `modelward audit key` prints it. May be repeated",
    )
    parser.add_argument(
        "--name", default="modelward-witness", metavar="NAME", help="of its key, where that is made now (%(default)s)"
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="to serve HTTPS, with --tls-key")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of the certificate")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it was told to end. Raises ProblemsFound."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        address = parse_address(arguments.listen)
    except UnitError as error:
        raise ProblemsFound([Problem(str(error), "--listen", how="Write host:port")]) from None
    if not is_name(arguments.name):
        raise ProblemsFound([Problem("this cannot name a witness", "--name", how="Leave out blanks and +")])
    context = _context(arguments.tls_certificate, arguments.tls_key)
    if context is None and not address.is_local:
        how = "Set --tls-certificate and --tls-key, or listen on 127.0.0.1 behind a proxy that has them"
        raise ProblemsFound([Problem(f"{address} is reached by other machines, without TLS", "--listen", how=how)])
    logs = [_log(text) for text in arguments.log]
    with _alone(arguments.folder):
        signer = replace(key.load_or_make(arguments.folder, arguments.name, begun=False), kind=COSIGNATURE)
        asyncio.run(_serve(Witness(arguments.folder, logs, signer), address, context, str(signer.verifier)))
    return 0


async def _serve(witness: Witness, address: Address, context: ssl.SSLContext | None, public: str) -> None:
    server = WitnessServer(witness)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        try:
            await server.start(address, context)
        except OSError as error:
            raise ProblemsFound([Problem("it cannot listen", str(address), error.strerror or str(error))]) from None
        print(f"witness  {'https' if context else 'http'}://{server.address}/", flush=True)
        print(f"key      {public}", flush=True)
        await ended.wait()
    finally:
        await server.stop()


def _log(text: str) -> Verifier:
    """Raises ProblemsFound."""
    try:
        given = text if "+" in text else read_regular(Path(text), LARGEST_KEY).decode()
        verifier = Verifier.parse(given)
        if verifier.kind != ED25519:
            raise ValueError("it is the key of a witness, and not of a log")
    except (OSError, ValueError) as error:
        how = "Give what `modelward audit key` prints on the server of the log, or a file with it"
        raise ProblemsFound([Problem("this is no public key of a log", "--log", str(error), how)]) from None
    return verifier


def _context(certificate: Path | None, private: Path | None) -> ssl.SSLContext | None:
    """Raises ProblemsFound."""
    if certificate is None and private is None:
        return None
    if certificate is None or private is None:
        raise ProblemsFound([Problem("--tls-certificate and --tls-key go together", "--tls-key", how="Set both")])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, private)
    except OSError as error:  # ssl's errors are such
        why = error.strerror or str(error)
        raise ProblemsFound([Problem("this is no certificate with its key", str(certificate), why)]) from None
    return context


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two witnesses of one folder would each cosign what the other has not seen. Raises ProblemsFound."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ProblemsFound([Problem("the folder cannot be used", str(folder), error.strerror or "")]) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ProblemsFound([Problem("another witness uses this folder", str(folder))]) from None
        yield
    finally:
        os.close(handle)
