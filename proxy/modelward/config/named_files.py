"""Files that the configuration names, and that are no part of it: no approval covers what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelward.config.access import Jwt
from modelward.config.explain import dotted
from modelward.config.fields import BaseModel
from modelward.config.schema import Config

OUTPUTS = ("repository", "state", "folder", "access_log")
"""What the server writes, and the repository, whose versions approvals cover."""
OF_VERSIONS = ("profile",)
READ_AT_RELOADS = ("integrity", "sealing")
SECRET = ("key", "keys", "password_file", "token_file", "sealing")


@dataclass(frozen=True)
class NamedFile:
    """key: of the configuration. path: None of a URL. secret: its digest is told nowhere."""

    key: str
    path: Path | None
    secret: bool


def named_files(config: Config) -> Iterator[NamedFile]:
    """In the order of the keys. With each model's own settings."""
    yield from _named(config, ())


def read_at_reloads(config: Config) -> list[Path]:
    """Files that nothing looks at between two reloads: keys of signers and of sealed versions, profiles and canaries of
    models that run on upstreams. What lies in a repository is left out."""
    found = [each.path for each in named_files(config) if each.key.split(".")[0] in READ_AT_RELOADS]
    for model in config.models.values():
        found += (model.anomaly.profile, model.canary.file)
    return [path for path in found if path is not None and path.is_absolute()]


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether what stands there may be told nowhere."""
    return path[-1] in SECRET or path[0] in SECRET


def _named(value: object, path: tuple[str | int, ...]) -> Iterator[NamedFile]:
    if path and path[-1] in (*OUTPUTS, *OF_VERSIONS):
        return
    if isinstance(value, Path):
        yield NamedFile(dotted(path), value, is_secret(path))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if isinstance(value, Jwt) and name == "jwks":
                yield NamedFile(dotted((*path, name)), None if value.is_url else Path(value.jwks), secret=False)
            else:
                yield from _named(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _named(each, (*path, str(name)))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _named(each, (*path, index))
