"""Why canaries fail, in words: what a worker tells its supervisor for the audit trail."""

from collections.abc import Mapping

from msgspec import Struct, field


class CanaryCauses(Struct, frozen=True):
    """versions: by name and version. upstreams: by address as it is configured."""

    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    upstreams: Mapping[str, str] = field(default_factory=dict)
