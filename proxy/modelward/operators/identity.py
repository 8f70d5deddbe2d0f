"""An operator as a connection or a token proves it."""

from __future__ import annotations

from dataclasses import dataclass

from modelward.audit.record import Actor, Proof


@dataclass(frozen=True)
class Operator:
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
    def key(self) -> tuple[str, str, str]:
        """Equal where two calls are of the same operator: nobody approves their own proposal."""
        return self.proof, self.issuer, self.name
