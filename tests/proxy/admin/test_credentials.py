"""What a call of the admin API may show of who makes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc

from modelward.admin.messages import SERVICE
from modelward.admin.server import AdminServer
from modelward.config.access import Jwt
from modelward.config.operators import Binding, Operators
from tests.proxy.admin.test_server import ANYWHERE, Played, code_of
from tests.tokens import ISSUER, Issuer


async def _answers(issuer: Issuer, keys: Path) -> dict[tuple[str, ...], Any]:
    """Of WhoAmI, by the headers that came with it."""
    tokens = Jwt(issuer=ISSUER, audience="admin", jwks=str(keys))
    bindings = tuple(Binding(token=name, roles=(role,)) for name, role in (("ann", "viewer"), ("bob", "administrator")))
    server = await AdminServer.start(ANYWHERE, None, Played(), Operators(tokens=(tokens,), bindings=bindings))
    sent = {name: ("authorization", f"Bearer {issuer.token(name, aud='admin')}") for name in ("ann", "bob")}
    sent["none"] = ("authorization", "none")
    answers: dict[tuple[str, ...], Any] = {}
    try:
        async with grpc.aio.insecure_channel(str(server.address)) as channel:
            ask = channel.unary_unary(f"/{SERVICE}/WhoAmI")
            for names in [("ann",), ("ann", "bob"), ("bob", "ann"), ("none", "ann"), ("ann", "none"), ("ann", "ann")]:
                asked = ask(b"", metadata=tuple(sent[name] for name in names), timeout=10)
                answers[names] = await (asked if len(names) == 1 else code_of(asked))
    finally:
        await server.stop()
    assert server.authorization.denials.counts == {("whoami", "unauthenticated"): 5}
    return answers


def test_two_tokens_prove_no_operator(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.add_key("one")
    answers = asyncio.run(_answers(issuer, issuer.publish(tmp_path / "keys.json")))
    assert b"ann" in answers.pop(("ann",))
    refused = (grpc.StatusCode.UNAUTHENTICATED, "more than one authorization came with the call; send one")
    assert set(answers.values()) == {refused}
