"""JSON Web Tokens validated against one issuer's keys. PyJWT does the cryptography."""

import json
import time
from typing import Any

import jwt
from jwt import PyJWK
from msgspec import Struct

from modelward.access.names import is_name
from modelward.config.access import Jwt
from modelward.config.units import SECOND

FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
MOST_KEYS = 256
FARTHEST_SECONDS = 2**31  # an expiry beyond is cut to it
SMALLEST_RSA, LARGEST_RSA = 2048, 8192


class Refused(Exception):
    """The token is not taken; the text is for the log, from a closed list."""


class Expired(Refused):
    """It was good once."""


class OtherAudience(Refused):
    """It is signed, and for another server."""


class UnknownKey(Refused):
    """No key of the set is the token's: it may be a newer one."""


class Claims(Struct, frozen=True):
    """name: the caller's. expires: seconds since 1970, leeway included."""

    name: str
    expires: float


class KeySet:
    """Public keys of one issuer, by id and algorithm.

    fingerprint: equal where two sets are the same. members: the keys, as texts.
    """

    def __init__(self, document: Any, algorithms: tuple[str, ...]) -> None:
        """document: a parsed JWKS (RFC 7517). Keys of other kinds are left out. ValueError where none is left."""
        keys = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(keys, list):
            raise ValueError('it is no JSON object with a list "keys"')
        self._keys: dict[tuple[str | None, str], PyJWK] = {}
        for entry in keys[:MOST_KEYS]:
            for algorithm in algorithms:
                if isinstance(entry, dict) and _fits(entry, algorithm):
                    self._add(entry, algorithm)
        if not self._keys:
            raise ValueError(f"it holds no public key for {', '.join(algorithms)}")
        self.fingerprint = json.dumps(keys[:MOST_KEYS], sort_keys=True)
        self.members = frozenset(json.dumps(entry, sort_keys=True) for entry in keys[:MOST_KEYS])

    def _add(self, entry: dict[str, Any], algorithm: str) -> None:
        try:
            key = PyJWK(entry, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            return
        size = getattr(key.key, "key_size", 0)
        if entry["kty"] == "RSA" and not SMALLEST_RSA <= size <= LARGEST_RSA:
            return
        kid = entry.get("kid")
        self._keys[kid if isinstance(kid, str) else None, algorithm] = key

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> PyJWK:
        """The key a token names; one that names none means the only one there is. Raises UnknownKey."""
        found = self._keys.get((kid, algorithm))
        if found is None and kid is None:
            of_algorithm = [key for (_, a), key in self._keys.items() if a == algorithm]
            found = of_algorithm[0] if len(of_algorithm) == 1 else None
        if found is None:
            raise UnknownKey("no key of the set is the token's")
        return found


def _fits(entry: dict[str, Any], algorithm: str) -> bool:
    """Whether the key may verify such signatures: of the kind, the curve, the use and the algorithm that it says."""
    family = FAMILIES.get(str(entry.get("kty")), ())
    operations = entry.get("key_ops")
    return (
        algorithm[:2] in family
        and entry.get("d") is None
        and entry.get("crv") == CURVES.get(algorithm)
        and entry.get("use", "sig") == "sig"
        and (not isinstance(operations, list) or "verify" in operations)
        and entry.get("alg", algorithm) in (algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm)
    )


def issuer_of(token: bytes) -> str:
    """The issuer that a token names, unproved: it says whose keys to ask. Raises Refused."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Refused("it is malformed") from None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else ""


def verify(token: bytes, keys: KeySet, settings: Jwt) -> Claims:
    """What a token proves. Raises Refused, whose text holds nothing of the token."""
    try:
        # the header decides which key is asked and nothing else: jku, jwk and x5u in it are not looked at
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in settings.algorithms:
            raise Refused("its algorithm is not one of those that are accepted")
        if "crit" in header:
            raise Refused("its header has critical extensions")
        claims = jwt.decode(
            token,
            keys.find(kid, algorithm),
            algorithms=[algorithm],
            audience=list(settings.audience),
            issuer=settings.issuer,
            leeway=settings.leeway / SECOND,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise Expired("it has expired") from None
    except jwt.InvalidAudienceError:
        raise OtherAudience("its audience is another") from None
    except jwt.MissingRequiredClaimError as error:
        raise Refused(f"the claim {error.claim} is missing") from None  # one of those that are required here
    except jwt.PyJWTError as error:
        raise Refused(_reason(error)) from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Refused("it is malformed") from None
    name = claims.get(settings.identity)
    if not isinstance(name, str) or not is_name(name):
        raise Refused("its identity claim is missing or no name")
    expires = min(int(claims["exp"]), int(time.time()) + FARTHEST_SECONDS)
    return Claims(name, expires + settings.leeway / SECOND)


REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.InvalidSignatureError, "its signature does not match"),
    (jwt.InvalidIssuerError, "its issuer is another"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidAlgorithmError, "its algorithm is not the key's"),
)


def _reason(error: Exception) -> str:
    return next((text for kind, text in REASONS if isinstance(error, kind)), "it is malformed")
