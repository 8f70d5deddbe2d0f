"""Who comes through the proxy, and by which key it is known."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

HONEST = ("anna", "boris", "carla", "dora")
GREEDY = "greta"  # a tenant with a key of its own who takes no account of anybody
VARIABLE = "SIEGE_TENANTS"


@dataclass(frozen=True)
class Keys:
    """API keys, each proof of one tenant."""

    honest: Sequence[str]
    greedy: str

    def environment(self) -> dict[str, str]:
        """For the processes that are to know them."""
        return {VARIABLE: json.dumps(asdict(self))}


def keys() -> Keys:
    """Those that the process was started with; names in their place where there are none."""
    told = os.environ.get(VARIABLE)
    return Keys(**json.loads(told)) if told else Keys(HONEST, GREEDY)
