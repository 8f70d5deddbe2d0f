"""What a configuration says besides the models: limits, access, TLS, proxies. Followed whether or not models can be."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from modelward.access import examine as access
from modelward.access import keys
from modelward.access.keys import KeyRing
from modelward.config.schema import Config
from modelward.problem import Gather
from modelward.server.tls import Material, load_material


class Rules(Struct, frozen=True):
    """material: None for plain text. key_ring: the API keys of callers, None where there are none."""

    config: Config
    material: Material | None
    key_ring: KeyRing | None


async def load_rules(config: Config) -> Rules:
    """Reads the files that they name, in a thread. Raises ProblemsFound."""
    return await asyncio.get_running_loop().run_in_executor(None, _load, config)


def _load(config: Config) -> Rules:
    tls, files = config.tls, Gather()
    material = files.step(lambda: load_material(tls)) if tls is not None else None
    files.problems += access.problems(config)
    files.end()
    ring = keys.load(config.access.keys) if config.access and config.access.keys else None
    return Rules(config, material, ring)
