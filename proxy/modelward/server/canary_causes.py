"""Why canaries fail, in words: what a worker tells its supervisor for the audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CanaryCauses:
    """versions: by name and version. upstreams: by address as it is configured."""

    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    upstreams: Mapping[str, str] = field(default_factory=dict)
