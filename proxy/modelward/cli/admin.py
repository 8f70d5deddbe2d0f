"""What commands that talk to a running server share: where its admin API is, one call after another, and exit codes."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict

from modelward.admin.messages import SERVICE
from modelward.certificate import read
from modelward.cli.output import console, print_problems, rfc3339
from modelward.cli.text import plain
from modelward.config.address import Address, parse_address, parse_address_or_off
from modelward.config.listen import Listen
from modelward.config.units import UnitError
from modelward.config.variables import expanded
from modelward.problem import Problem, ProblemsFound, WrongUsage
from modelward.rpc.protocol import Message, message_class, pool

DONE, REFUSED, UNREACHABLE, UNSAVED = 0, 1, 2, 3
ANSWER_SECONDS = 10.0
# a proxy for the web is not on the way to an operator's port; a server that does not answer within 5 s is not there
CHANNEL_OPTIONS = {"grpc.enable_http_proxy": 0, "grpc.min_reconnect_backoff_ms": 5_000}
# what says that no server, or another one, is at the address
NO_SERVER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
HOW = "Check that the server runs; give its address with --admin, or its configuration with --config"
HOW_TLS = f"{HOW}. With admin_tls it needs --ca, and --certificate and --key or a token"
HOW_PROVED = (
    "Give --token FILE, or --ca, --certificate and --key; with a Unix socket, call as the user that has the role"
)
HOW_ALLOWED = "`modelward whoami` shows your roles, `modelward can-i --list` what they allow"
HOW_TOKEN = "Ask the issuer for a token as operators.tokens of the server wants it"
HOW_CERTIFICATE = "Use another certificate, or a token"
TOKEN_VARIABLE = "MODELWARD_OPERATOR_TOKEN"
ADDRESS_VARIABLE = "MODELWARD_ADMIN"
FILE_VARIABLES = {"ca": "MODELWARD_CA", "certificate": "MODELWARD_CERTIFICATE", "key": "MODELWARD_KEY"}
WHERE = "listen.admin"
STATUS = "Status"  # has been there from the first version on
LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
TIMES = ("at", "since", "until", "expires")
"""Fields of messages that are seconds since 1970."""


class Unreachable(ProblemsFound):
    """No server has answered."""


def tell_restart(keys: Sequence[str]) -> None:
    """Of keys that a reload found changed, and that it could not follow."""
    if keys:
        text = f"needs a restart of the server: {', '.join(keys)}: changed in the configuration, and not followed yet"
        console().print(plain(text), soft_wrap=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--admin",
        metavar="ADDRESS",
        help="address of the admin API, host:port or unix:/path "
        f"(default: that of --config, else ${ADDRESS_VARIABLE}, else {Listen().admin})",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file of the server, to find its admin API"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    for name, what in {
        "ca": "certificate authority of the server",
        "certificate": "certificate of the operator",
        "key": "key of --certificate",
    }.items():
        told = f"{what}, PEM (mTLS); or ${FILE_VARIABLES[name]}"
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=told)
    parser.add_argument(
        "--server-name", metavar="NAME", help="name in the server's certificate, where it is not the host"
    )
    parser.add_argument(
        "--token", type=Path, metavar="FILE", help=f"file that holds the operator's token; or ${TOKEN_VARIABLE}"
    )


class Client:
    """Of one server. Methods by their names in the protocol."""

    def __init__(
        self, address: Address, channel: grpc.Channel, token: str | None = None, how_proved: str = HOW_PROVED
    ) -> None:
        """how_proved: what to do where the server does not accept what was shown."""
        self._address = address
        self._channel = channel
        self._how_proved = how_proved
        self._metadata = None if token is None else (("authorization", f"Bearer {token}"),)

    def call(self, method: str, timeout: float | None = None, **fields: Any) -> Message:
        """timeout: seconds, None to wait as long as it takes. fields: of the request.

        Raises Unreachable, ProblemsFound.
        """
        try:
            return self._method(self._channel.unary_unary, method, **fields)(timeout=timeout)
        except grpc.RpcError as error:
            raise self._failed(method, error) from error

    def stream(self, method: str, **fields: Any) -> Iterator[Message]:
        """Each answer as it comes. fields: of the request. Raises Unreachable, ProblemsFound."""
        try:
            yield from self._method(self._channel.unary_stream, method, **fields)()
        except grpc.RpcError as error:
            raise self._failed(method, error) from error

    def _method(self, kind: Callable[..., Any], method: str, /, **fields: Any) -> Callable[..., Any]:
        described = pool().FindServiceByName(SERVICE).methods_by_name[method]
        request, response = (message_class(kind.full_name) for kind in (described.input_type, described.output_type))
        call = kind(
            f"/{SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return lambda **options: call(request(**fields), metadata=self._metadata, **options)

    def _failed(self, method: str, error: grpc.RpcError) -> ProblemsFound:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNIMPLEMENTED and method != STATUS and (runs := self._version()) is not None:
            what = f"the server at {self._address} has no method {method}, which this command needs"
            why = f"it runs {runs}, and this command is of Modelward {version('modelward')}"
            return ProblemsFound([Problem(what, WHERE, why, "Upgrade the server, or use the command of its version")])
        if code is grpc.StatusCode.UNIMPLEMENTED:
            how = "That is a server without it, or its listen.grpc: give listen.admin"
            return Unreachable([Problem(f"{self._address} is no admin API", WHERE, details, how)])
        if code in NO_SERVER:
            return Unreachable([Problem(f"no server answers at {self._address}", WHERE, details, HOW_TLS)])
        how = {grpc.StatusCode.UNAUTHENTICATED: self._how_proved, grpc.StatusCode.PERMISSION_DENIED: HOW_ALLOWED}.get(
            code, ""
        )
        return ProblemsFound([Problem(details or code.name, str(self._address), how=how)])

    def _version(self) -> str | None:
        """What the server runs, in words; None where no admin API is there."""
        try:
            status: Any = self._method(self._channel.unary_unary, STATUS)(timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            # only an admin API asks who calls
            is_there = error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            return "another version, which it does not tell you" if is_there else None
        return f"Modelward {status.version}"


def run(arguments: argparse.Namespace, act: Callable[[Client], int]) -> int:
    """What `act` returns; 1 with what is wrong, 2 with why no server could be reached."""
    try:
        address, token = _address(arguments), _token(arguments)
        files = _files(arguments, address)
        shown = HOW_TOKEN if token is not None else HOW_CERTIFICATE if files["certificate"] else HOW_PROVED
        with closing(_channel(arguments, address, files)) as channel:
            return act(Client(address, channel, token, shown))
    except Unreachable as found:
        print_problems(found.problems)
        return UNREACHABLE


def problems_of(message: Any) -> list[Problem]:
    """Those that an answer of the server's brings."""
    return [Problem(each.what, each.where, each.why, each.how) for each in message.problems]


def as_json(message: Message) -> dict[str, Any]:
    """Every field by its name in the protocol, those that are empty too. Points in time as the audit trail has them,
    and every number as one: protobuf's own JSON writes those of 64 bits as texts."""
    fields: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _plain(fields, message.DESCRIPTOR)


def _plain(fields: dict[str, Any], described: Descriptor) -> dict[str, Any]:
    for field in described.fields:
        value = fields.get(field.name)
        if field.type == field.TYPE_DOUBLE and field.name in TIMES:
            fields[field.name] = rfc3339(value) if value else ""
        elif field.cpp_type in LONG and value is not None:
            fields[field.name] = [int(each) for each in value] if isinstance(value, list) else int(value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].cpp_type in LONG and value is not None:
                fields[field.name] = {key: int(each) for key, each in value.items()}
        elif field.message_type is not None:
            for each in value if isinstance(value, list) else [value] if value is not None else []:
                _plain(each, field.message_type)
    return fields


def _address(arguments: argparse.Namespace) -> Address:
    """Raises WrongUsage, ProblemsFound for one that is none, Unreachable where that cannot be known."""
    given, where = arguments.admin, "--admin"
    if given is None and arguments.config is None and os.environ.get(ADDRESS_VARIABLE):
        given, where = os.environ[ADDRESS_VARIABLE], f"${ADDRESS_VARIABLE}"
    try:
        if given is not None:
            return parse_address(given)
        address = _configured(arguments.config)
    except UnitError as error:
        if given is not None:
            raise WrongUsage(f"{where}: {error}. {error.how}") from error
        raise ProblemsFound([Problem(str(error), WHERE, how=error.how)]) from error
    if address is None:
        raise Unreachable([Problem("the admin API is off", WHERE, how="Set listen.admin, and restart the server")])
    if not address.is_unix and not address.port:
        how = "Give the address that READY shows with --admin"
        raise Unreachable([Problem(f"{address}: the kernel has chosen the port", WHERE, how=how)])
    return address


def _configured(file: Path | None) -> Address | None:
    """Of the file and the environment, whatever is wrong with the rest of them."""
    # brings every section: a command that is given the address takes half the time without
    from modelward.config.layer import merge  # noqa: PLC0415
    from modelward.config.sources import from_environment, from_file  # noqa: PLC0415

    layer = merge([*([from_file(file)] if file is not None else []), from_environment(os.environ)])
    listen = layer.values.get("listen")
    if isinstance(listen, dict) and "admin" in listen:
        admin = listen["admin"]
        is_socket = isinstance(admin, str) and admin.startswith("unix:")
        return parse_address_or_off(expanded(admin) if is_socket else admin)
    return Listen().admin


def _token(arguments: argparse.Namespace) -> str | None:
    """Of the file, else of the environment. Raises ProblemsFound, which shows nothing of it."""
    where = f"${TOKEN_VARIABLE}"
    if arguments.token is not None:
        where = f"--token {arguments.token}"
        token = read(arguments.token, "--token").decode("ascii", "replace").strip()
    elif not (token := os.environ.get(TOKEN_VARIABLE, "").strip()):
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ProblemsFound([Problem("it does not hold one token", where, how="Write the token alone into it")])
    return token


def _files(arguments: argparse.Namespace, address: Address) -> dict[str, Path | None]:
    """Of TLS, by the flag's name: each as it is given, else of the environment, which is not about Unix sockets."""
    files: dict[str, Path | None] = {name: getattr(arguments, name) for name in FILE_VARIABLES}
    if address.is_unix:
        return files
    for name, variable in FILE_VARIABLES.items():
        if files[name] is None and (told := os.environ.get(variable)):
            files[name] = Path(told)
    return files


def _channel(arguments: argparse.Namespace, address: Address, files: dict[str, Path | None]) -> grpc.Channel:
    options = CHANNEL_OPTIONS
    alone = arguments.token is not None or TOKEN_VARIABLE in os.environ  # proves who calls without a certificate
    missing = [name for name in ("key", "certificate", "ca") if files[name] is None]
    if missing and not (alone and missing == ["key", "certificate"]):
        if len(missing) < len(files):
            told = " and ".join(f"--{name} (or ${FILE_VARIABLES[name]})" for name in missing[::-1])
            raise WrongUsage(f"mTLS needs all three of its files: give {told} too; with a token, --ca is enough")
        if arguments.server_name is not None:
            raise WrongUsage("--server-name is of TLS: give --ca, --certificate and --key too, or leave it out")
        return grpc.insecure_channel(str(address), options=[*options.items()])
    if arguments.server_name is not None:
        options = options | {"grpc.ssl_target_name_override": arguments.server_name}
    authorities, certificate, key = (
        read(file, f"--{name}") if file is not None else None for name, file in files.items()
    )
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    return grpc.secure_channel(str(address), credentials, options=[*options.items()])
