"""Who calls the admin API: what the connection shows of its client, and the token that came with the call.

A token that is sent names the caller, whatever the connection proves besides: it was sent on purpose. One that is not
valid ends the call; it never makes it a call of the certificate or the user of the connection. Rights of two
identities never add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from modelward.access.names import common_name, is_name, of_certificate
from modelward.config.operators import LONGEST, UNMAPPED, Operators
from modelward.operators.identity import Operator, Unauthenticated

if TYPE_CHECKING:
    from modelward.operators.issuers import Issuers

SCHEME = "bearer"
HEADER = "authorization"
OF_OTHER_KINDS = ":/@"
"""A common name is free text: with these it could pass for a URI or an e-mail address."""


class Shown(Struct, frozen=True):
    """What a call shows. origin: its address. certificate: the client's, as SSLSocket.getpeercert gives it.
    issuer: who signed it, not_after: its end in seconds since 1970. user: the name of `uid`. authorization: the
    header."""

    origin: str
    certificate: Mapping[str, Any] = field(default_factory=dict)
    issuer: str = ""
    not_after: float | None = None
    uid: int | None = None
    user: str = ""
    gids: tuple[int, ...] = ()
    authorization: str | None = None


class Authenticator:
    """Of one configuration."""

    def __init__(self, operators: Operators, changed: Callable[[str], None] = lambda issuer: None) -> None:
        """changed: as Issuers. Raises ProblemsFound, for files of key sets."""
        self._kinds = {binding.kind for binding in operators.bindings}
        self._common_name = operators.common_name
        self._issuers: Issuers | None = None
        if operators.tokens:
            from modelward.operators.issuers import Issuers  # noqa: PLC0415 - brings PyJWT and aiohttp: only where tokens are taken

            self._issuers = Issuers(operators.tokens, changed)

    @property
    def key_set_failures(self) -> int:
        return self._issuers.failures if self._issuers is not None else 0

    async def identify(self, shown: Shown) -> Operator:
        """Raises Unauthenticated."""
        if shown.authorization is not None:
            return await self._by_token(shown.authorization, shown.origin)
        if shown.certificate:
            if shown.not_after is not None and shown.not_after < time.time():  # since the connection began
                raise Unauthenticated("the certificate has expired")
            return Operator(self._name_in(shown.certificate), "certificate", shown.issuer, shown.origin)
        if shown.uid is not None:
            if shown.uid == UNMAPPED:
                raise Unauthenticated("the kernel cannot name the user: it is of another user namespace")
            gids = tuple(gid for gid in shown.gids if gid != UNMAPPED)
            return Operator(shown.user or f"uid {shown.uid}", "socket", "", shown.origin, shown.uid, gids)
        raise Unauthenticated(f"no credential: {self._taken()}")

    def _name_in(self, certificate: Mapping[str, Any]) -> str:
        if name := of_certificate(certificate):
            return name
        common = common_name(certificate)
        if common is None:
            raise Unauthenticated("the certificate has no name that counts: one URI, a DNS name or an e-mail address")
        if not self._common_name:
            raise Unauthenticated("the certificate has only a common name: operators.common_name is not set")
        if not is_name(common) or not set(common).isdisjoint(OF_OTHER_KINDS):
            raise Unauthenticated("the certificate's common name cannot be used: it is too long, or has : / @ in it")
        return common

    async def _by_token(self, authorization: str, origin: str) -> Operator:
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != SCHEME or not token.strip():
            raise Unauthenticated("the header authorization is not Bearer TOKEN")
        if self._issuers is None:
            raise Unauthenticated("tokens are not accepted here: operators.tokens is not set")
        name, issuer = await self._issuers.verify(token.strip())
        return Operator(name, "token", issuer, origin)

    def _taken(self) -> str:
        if self._issuers is not None:
            return "send a token (--token FILE)"
        return "this address accepts none"


def unproved(shown: Shown, certified: str, words: str) -> Operator:
    """Who calls, as far as that is known, where it decides nothing. certified: the name in the certificate. words: what
    is known where nothing is proved."""
    if certified:
        return Operator(certified[:LONGEST], "certificate", shown.issuer, shown.origin)
    if shown.uid is not None:
        return Operator(shown.user or f"uid {shown.uid}", "socket", "", shown.origin, shown.uid, shown.gids)
    return Operator(words, "address", "", shown.origin)
