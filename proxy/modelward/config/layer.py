"""One source of settings: a tree of plain values and, for each path in it, where it was written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


@dataclass
class Layer:
    """values: nested mappings, lists and scalars. origins: path -> "modelward.yaml:12" or the flag or variable."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: tuple[str, ...], value: object, origin: str) -> "Layer":
        """A layer of one setting."""
        for key in reversed(path):
            value = {key: value}
        assert isinstance(value, dict), "a setting has a path"
        return cls(value, {path[: i + 1]: origin for i in range(len(path))})

    def under(self, *prefix: str) -> "Layer":
        """The same settings, moved below `prefix`."""
        values: dict[str, Any] = self.values
        for key in reversed(prefix):
            values = {key: values}
        return Layer(values, {(*prefix, *path): origin for path, origin in self.origins.items()})

    def origin(self, path: Path) -> str | None:
        """Where `path`, or the nearest thing around it, was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return None


def merge(layers: Iterable[Layer]) -> Layer:
    """Later layers win key by key; mappings are merged, everything else is replaced whole."""
    merged = Layer()
    for layer in layers:
        merged.values = _merge(merged, merged.values, layer, layer.values, ())
    return merged


def _merge(target: Layer, below: object, source: Layer, above: Any, path: Path) -> Any:
    if path in source.origins:
        target.origins[path] = source.origins[path]
    if isinstance(above, dict) and isinstance(below, dict):
        return below | {
            key: _merge(target, below.get(key), source, value, (*path, key)) for key, value in above.items()
        }
    if below is not None:
        for stale in [p for p in target.origins if len(p) > len(path) and p[: len(path)] == path]:
            del target.origins[stale]
    target.origins.update((p, o) for p, o in source.origins.items() if p[: len(path)] == path)
    return above
