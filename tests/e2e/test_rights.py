"""Every verb for every role, pattern of models and kind of credential, asked of real servers: as the table says.

One server with TLS, one with a socket. An identity per role and pattern asks what it may, and then calls every method
of the API with a request that changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from modelward.admin.messages import SERVICE, message
from modelward.admin.needs import NEEDS
from modelward.admin.server import MOST_CALLS
from modelward.operators.verbs import OF_SERVER, ROLES, VERBS
from modelward.rpc.protocol import message_class, pool
from tests import models
from tests.certificates import authority_file, credentials, write_pair
from tests.support import serve_process
from tests.tokens import ISSUER, Issuer

PATTERNS = {"all": "*", "some": "fraud-*"}
MODELS = {"fraud-a": ("all", "some"), "other": ("all",)}
"""Models that are served, and the patterns that they are of."""
IDENTITIES = [f"{role}-{pattern}" for role in ROLES for pattern in PATTERNS]
STRANGER = "stranger"  # whose name is proved, and that no binding is for
FIRST_UID = 61_000
SLOW = {"RollingRestart", "Reload", "Drain"}  # where they are allowed: asked for once, since they are of no model
NAMED = {"SetLimit", "UnsetLimit", "Suspects", "RestrictIdentity", "PardonIdentity", "Drift"}
"""The method itself asks for the right to the model that is named."""
DRAINS = "operator-all"  # at the end

Call = tuple[str, bytes]  # method and request
Answer = tuple[int, bytes]  # status code and response
Ask = Callable[[str, str | None, list[Call]], list[Answer]]
DENIED, UNPROVED = (code.value[0] for code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED))


@dataclass
class Kind:
    """How a name is proved. ask: the server's address, an identity (None: without a credential), and what is called."""

    settings: list[str]
    binding: Callable[[str], str]
    ask: Ask


def requests_of(model: str) -> dict[str, Any]:
    """By method, one that changes nothing where it is allowed."""
    return {
        "Status": {},
        "Identities": {},
        "Shadows": {"model": model},
        "Reload": {},
        "RollingRestart": {},
        "Drain": {},
        "Promote": {"model": model, "version": "77"},
        "Rollback": {"model": model},
        "Pardon": {"model": model},
        "OpenCapture": {"model": model, "action": "list"},
        "Drift": {"model": model},
        "AcceptDrift": {"model": model},
        "SetLimit": {"kind": "model", "name": model, "rate": "many", "seconds": 60},
        "UnsetLimit": {"kind": "model", "name": model},
        "OverrideBreaker": {"model": model, "action": "auto"},
        "Suspects": {"model": model},
        "RestrictIdentity": {"name": "team-a", "model": model, "step": "block", "seconds": 0},
        "PardonIdentity": {"name": "team-a", "model": model},
        "Proposals": {},
        "Approve": {"number": 77},
        "Reject": {"number": 77},
        "Review": {"number": 77},
        "Withdraw": {"number": 77},
        "WhoAmI": {},
        "CanI": {},
    }


def call(method: str, fields: Mapping[str, Any]) -> Call:
    kind = pool().FindServiceByName(SERVICE).methods_by_name[method].input_type
    return method, message_class(kind.full_name)(**fields).SerializeToString()


def expected(role: str, pattern: str, verb: Any, model: str) -> bool:
    """As the table says, in the test's own words. model: empty for any."""
    if role not in VERBS[verb]:
        return False
    if verb in OF_SERVER:
        return pattern == "all"
    return not model or pattern in MODELS[model]


def expected_call(role: str, pattern: str, method: str, model: str) -> bool:
    need = NEEDS[method]
    if need.verb is None:
        return True
    if need.of == "server":
        return role in VERBS[need.verb] and pattern == "all"
    return expected(role, pattern, need.verb, model if need.of == "model" or method in NAMED else "")


def through_grpc(channel: grpc.Channel, calls: list[Call], metadata: Any = None) -> list[Answer]:
    """Some at once: fewer than one peer may have under way, which is half of all."""
    some = MOST_CALLS // 2 - 1
    answers: list[Answer] = []
    for first in range(0, len(calls), some):
        begun = [begin(channel, method, request, metadata) for method, request in calls[first : first + some]]
        answers += [answer_of(each) for each in begun]
    return answers


def begin(channel: grpc.Channel, method: str, request: bytes, metadata: Any) -> Callable[[], bytes]:
    """What waits for the response of a call."""
    if pool().FindServiceByName(SERVICE).methods_by_name[method].server_streaming:
        stream = channel.unary_stream(f"/{SERVICE}/{method}")(request, metadata=metadata, timeout=60)
        return lambda: b"".join(stream)
    return channel.unary_unary(f"/{SERVICE}/{method}").future(request, metadata=metadata, timeout=60).result


def answer_of(begun: Callable[[], bytes]) -> Answer:
    try:
        return 0, begun()
    except grpc.RpcError as error:
        return error.code().value[0], error.details().encode()


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


def over_tls(address: str, shown: trustme.LeafCert | None = None) -> grpc.Channel:
    options = [("grpc.ssl_target_name_override", "localhost")]
    return grpc.secure_channel(address, credentials(authority(), shown), options=options)


@contextlib.contextmanager
def by_certificate(folder: Path) -> Iterator[Kind]:
    ca = authority_file(authority(), folder / "ca.pem")
    server = write_pair(authority().issue_cert("localhost"), folder, "server")
    issued = {name: authority().issue_cert(f"{name}.example") for name in [*IDENTITIES, STRANGER]}

    def ask(address: str, name: str | None, calls: list[Call]) -> list[Answer]:
        with over_tls(address, issued[name] if name is not None else None) as channel:
            return through_grpc(channel, calls)

    tls = f"admin_tls={{certificate: {server.certificate}, key: {server.key}, client_ca: {ca}}}"
    arguments = ["--set", "listen.admin=127.0.0.1:0", "--set", tls]
    yield Kind(arguments, lambda name: f"certificate: {name}.example", ask)


@contextlib.contextmanager
def by_token(folder: Path) -> Iterator[Kind]:
    issuer = Issuer()
    issuer.add_key("one")
    jwks = issuer.publish(folder / "keys.json")

    def ask(address: str, name: str | None, calls: list[Call]) -> list[Answer]:
        sent = (("authorization", f"Bearer {issuer.token(name, aud='admin')}"),) if name is not None else None
        with over_tls(address) as channel:
            return through_grpc(channel, calls, sent)

    tokens = f"operators.tokens=[{{issuer: '{ISSUER}', audience: admin, jwks: '{jwks}'}}]"
    yield Kind(["--set", tokens], lambda name: f"token: {name}", ask)


@contextlib.contextmanager
def by_user(folder: Path) -> Iterator[Kind]:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    uids = {name: FIRST_UID + number for number, name in enumerate([*IDENTITIES, STRANGER])}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.as_user"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as helper:

        def ask(address: str, name: str | None, calls: list[Call]) -> list[Answer]:
            uid = uids[name] if name is not None else 65_534  # what the kernel has for those it cannot name
            asked = {"socket": address.removeprefix("unix:"), "uid": uid, "calls": [
                (f"/{SERVICE}/{method}", request.hex()) for method, request in calls
            ]}  # fmt: skip
            assert helper.stdin is not None and helper.stdout is not None
            helper.stdin.write(json.dumps(asked) + "\n")
            helper.stdin.flush()
            return [(code, bytes.fromhex(data)) for code, data in json.loads(helper.stdout.readline())]

        yield Kind(["--set", f"listen.admin=unix:{folder}/admin.sock"], lambda name: f"user: {uids[name]}", ask)
        assert helper.stdin is not None
        helper.stdin.close()


@pytest.mark.parametrize("kinds_of", [(by_certificate, by_token), (by_user,)])
def test_each_right_is_as_the_table_says(kinds_of: tuple[Callable[[Path], Any], ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="modelward-") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)
        root = models.repository(folder / "models", {name: {1: models.add_one()} for name in MODELS})
        kinds: list[Kind] = [stack.enter_context(kind_of(folder)) for kind_of in kinds_of]
        bindings = ", ".join(bound(kind, name) for kind in kinds for name in IDENTITIES)
        settings = [word for kind in kinds for word in kind.settings]
        sets = (f"operators.bindings=[{bindings}]", "watch=false", "workers=1")
        given = [*settings, *(word for each in sets for word in ("--set", each))]
        server = stack.enter_context(serve_process(root, *given))
        for kind in kinds:
            wrong = [fault for name in IDENTITIES for fault in faults(kind, server.admin, name)]
            assert wrong == []
            check_strangers(kind, server.admin)
        denied = server.metric("modelward_operator_calls_denied_total", cause="denied")
        assert denied > len(IDENTITIES) * len(kinds)
        assert server.metric("modelward_reloads_total", result="refused") == 0
        ((code, begun),) = kinds[0].ask(server.admin, DRAINS, [call("Drain", {})])
        assert (code, message("DrainResponse").FromString(begun).timeout_seconds) == (0, 20)
        assert server.process.wait(60) == 0


def bound(kind: Kind, name: str) -> str:
    role, _, pattern = name.partition("-")
    return f"{{{kind.binding(name)}, roles: [{role}], models: ['{PATTERNS[pattern]}']}}"


def faults(kind: Kind, address: str, name: str) -> Iterator[str]:
    """What an identity is allowed or denied otherwise than the table says."""
    role, _, pattern = name.partition("-")
    asked = [(model, call("CanI", {"model": model})) for model in ("", *MODELS)]
    calls = [
        (method, model, call(method, fields))
        for model in MODELS
        for method, fields in requests_of(model).items()
        if (method not in SLOW or model == "other") and (method, name) != ("Drain", DRAINS)
    ]
    answers = kind.ask(address, name, [each for *_, each in (*asked, *calls)])
    for (model, _), (code, response) in zip(asked, answers, strict=False):
        assert code == 0, response
        rights = message("CanIResponse").FromString(response).rights
        assert [each.verb for each in rights] == [*VERBS]
        for each in rights:
            if each.allowed != expected(role, pattern, each.verb, model):
                yield f"can-i {each.verb} {model or 'any'} as {name}: {each.allowed}, {each.why}"
    for (method, model, _), (code, response) in zip(calls, answers[len(asked) :], strict=True):
        allowed = expected_call(role, pattern, method, model)
        if code != (0 if allowed else DENIED):
            yield f"{method} {model} as {name}: {code} {response!r}"
        elif method == "Status" and allowed:
            served = {each.name for each in message("StatusResponse").FromString(response).models}
            if served != {each for each, patterns in MODELS.items() if pattern in patterns}:
                yield f"Status as {name} shows {served}"
        elif method == "WhoAmI" and not message("WhoAmIResponse").FromString(response).grants:
            yield f"WhoAmI as {name} knows of no role"


def check_strangers(kind: Kind, address: str) -> None:
    """Whose name no binding has may know nothing but that; who proves none is not let in at all."""
    calls = [call(method, fields) for method, fields in requests_of("fraud-a").items()]
    answers = dict(zip(requests_of(""), kind.ask(address, STRANGER, calls), strict=True))
    assert {method for method, (code, _) in answers.items() if code == 0} == {"WhoAmI", "CanI"}
    assert {code for code, _ in answers.values()} == {0, DENIED}
    assert not message("WhoAmIResponse").FromString(answers["WhoAmI"][1]).grants
    assert {code for code, _ in kind.ask(address, None, calls)} == {UNPROVED}


def test_every_method_is_called() -> None:
    assert {*requests_of("")} == {*NEEDS}
