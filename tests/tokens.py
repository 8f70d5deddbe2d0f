"""A token issuer for tests: keys, the set that publishes them, and what it signs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER = "https://issuer.example"
AUDIENCE = "models"
PRIVATE = Any


def _new_key(algorithm: str) -> PRIVATE:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Issuer:
    """Keys by id, each with its algorithm."""

    keys: dict[str, tuple[str, PRIVATE]] = field(default_factory=dict)

    def add_key(self, kid: str, algorithm: str = "ES256") -> None:
        self.keys[kid] = (algorithm, _new_key(algorithm))

    def key_set(self) -> dict[str, Any]:
        published = []
        for kid, (algorithm, private) in self.keys.items():
            public = json.loads(get_default_algorithms()[algorithm].to_jwk(private.public_key()))
            published.append({**public, "kid": kid, "use": "sig"})
        return {"keys": published}

    def publish(self, file: Path) -> Path:
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(self.key_set()))
        return beside.replace(file)

    def token(self, name: str, kid: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Of the subject `name`, signed with the first key unless `kid` says another. A claim of None is left out."""
        kid = kid or next(iter(self.keys))
        algorithm, private = self.keys[kid]
        usual = {"sub": name, "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300}
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(payload, private, algorithm, headers={"kid": kid, **(headers or {})})
