"""An operator as a connection or a token proves it."""

from __future__ import annotations

from msgspec import Struct

from modelward.audit.record import Actor, Proof


class Unauthenticated(Exception):
    """Who calls is not proved. The text is for the caller: it holds nothing of a credential."""


class Operator(Struct, frozen=True):
    """proof: what proved the name. issuer: of the token or the certificate. uid, gids: of a Unix socket's client.
    origin: the address of the call."""

    name: str
    proof: Proof
    issuer: str = ""
    origin: str = ""
    uid: int | None = None
    gids: tuple[int, ...] = ()

    @property
    def actor(self) -> Actor:
        """As the audit trail names it."""
        return Actor(name=self.name, proof=self.proof, issuer=self.issuer, origin=self.origin)

    @property
    def words(self) -> str:
        """For people: the name, and what proved it."""
        match self.proof:
            case "token":
                return f"token {self.name} of {self.issuer}"
            case "socket" if self.uid is not None and self.name != f"uid {self.uid}":
                return f"user {self.name} (uid {self.uid})"
            case "certificate":
                return f"certificate {self.name}"
            case _:
                return self.name
