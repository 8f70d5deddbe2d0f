"""The files of a pod, on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme

from tests.certificates import authority_file, write_pair
from tests.commands import modelward
from tests.models import add_one, repository
from tests.tokens import Issuer

MARGIN = 5.0
"""Seconds of the grace period that no part of the drain may use; a drain takes up to 2 s more than its two parts."""


def value_of(variable: dict[str, Any]) -> str:
    """Those of Secrets are as their names say, those of the pod's fields what they are called."""
    if "fieldRef" in variable.get("valueFrom", {}):
        return str(variable["valueFrom"]["fieldRef"]["fieldPath"])
    urls = {"MODELWARD__LIMITS__SHARED__URL": "redis://a:6379", "MODELWARD__AUDIT__POSTGRES__URL": "postgresql://u@h/d"}
    urls["MODELWARD__FLEET__URL"] = "postgresql://u@h/d"
    return str(variable["value"] if "value" in variable else urls[variable["name"]])


def laid_out(root: Path) -> Callable[[str], str]:
    """The folders of a pod, below `root`. Gives what moves paths of the pod there."""
    repository(root / "models", {"add": add_one()})
    (root / "mnt").mkdir()
    (root / "mnt" / "models").symlink_to(root / "models")
    for name in ("run/modelward", "var/lib/modelward"):
        (root / name).mkdir(parents=True)
    authority = trustme.CA()
    for name in ("tls", "admin"):
        folder = root / "etc/modelward" / name
        folder.mkdir(parents=True)
        pair = write_pair(authority.issue_cert("modelward.models"), folder, "tls")
        pair.certificate.rename(folder / "tls.crt")
        authority_file(authority, folder / "ca.crt")
    for name in ("keys", "valkey", "postgres", "secrets/issuer"):
        (root / "etc/modelward" / name).mkdir(parents=True)
    keys = root / "etc/modelward/keys/keys.json"
    assert modelward("token", "add", "shop", "--file", keys).returncode == 0
    for name in ("valkey", "postgres"):
        (root / "etc/modelward" / name / "password").write_text("secret")
    issuer = Issuer()
    issuer.add_key("a")
    issuer.publish(root / "etc/modelward/secrets/issuer/jwks")
    return lambda text: re.sub(r"(?<![\w.])/(etc/modelward|models|mnt/models|run|var)\b", rf"{root}/\1", text)
