"""Checks of the configuration as a whole that no single key can make: fallback chains that end, models that exist."""

import graphlib
from itertools import combinations

from modelward.config.explain import dotted, place
from modelward.config.layer import Layer, Path
from modelward.config.schema import Config
from modelward.problem import Problem
from modelward.suggest import suggestion

MOST_LISTED = 8


def cross_check(config: Config, layer: Layer) -> list[Problem]:
    """Problems between keys."""
    return [*_listeners(config, layer), *_unreachable_fallbacks(config, layer), *_circle(config, layer)]


def unknown_models(layer: Layer, names: list[str]) -> list[Problem]:
    """Models that the configuration names and that are nowhere. names: the repository's.

    layer: as it was written, whatever else is wrong with it.
    """
    models = layer.values.get("models")
    if layer.values.get("upstreams") or not isinstance(models, dict):  # upstreams know more models
        return []
    written = {name: settings if isinstance(settings, dict) else {} for name, settings in models.items()}
    names = [*names, *(name for name, settings in written.items() if settings.get("upstreams") and name not in names)]
    mentioned: list[tuple[Path, str]] = []
    for name, settings in written.items():
        mentioned.append((("models", name), name))
        fallbacks = settings.get("fallback")
        mentioned += [
            (("models", name, "fallback", i, "model"), fallback["model"])
            for i, fallback in enumerate(fallbacks if isinstance(fallbacks, list) else ())
            if isinstance(fallback, dict) and isinstance(fallback.get("model"), str)
        ]
    listed = f"It has {', '.join(names[:MOST_LISTED])}{' and more' if len(names) > MOST_LISTED else ''}"
    return [
        Problem(
            f"{dotted(path)}: the repository has no model {name!r}",
            place(layer, path),
            how=suggestion(name, names) or listed,
        )
        for path, name in mentioned
        if name not in names
    ]


def _listeners(config: Config, layer: Layer) -> list[Problem]:
    listen = config.listen
    taken = {"grpc": listen.grpc, "http": listen.http, "admin": listen.admin}
    return [
        Problem(
            f"listen.{a} and listen.{b} are both {first}",
            place(layer, ("listen", b)),
            how="Give one of them another port",
        )
        for (a, first), (b, second) in combinations(taken.items(), 2)
        if first is not None and first == second and (first.is_unix or first.port)
    ]


def _unreachable_fallbacks(config: Config, layer: Layer) -> list[Problem]:
    problems = []
    for name, settings in config.models.items():
        for i, fallback in enumerate(settings.fallback[:-1]):
            if fallback.value is not None:
                path: Path = ("models", name, "fallback", i)
                problems.append(
                    Problem(
                        f"{dotted(path)}: the fallbacks after a value are never reached",
                        place(layer, path),
                        "a value always answers",
                        "Move it to the end",
                    )
                )
    return problems


def _circle(config: Config, layer: Layer) -> list[Problem]:
    """The first circle among the fallbacks that are models."""
    fallbacks = {name: [r.model for r in s.fallback if r.model is not None] for name, s in config.models.items()}
    try:
        graphlib.TopologicalSorter(fallbacks).prepare()
    except graphlib.CycleError as error:
        # from a fallback to the model that has it; the first is repeated at the end
        circle: list[str] = error.args[1][::-1]
        path: Path = ("models", circle[0], "fallback")
        return [
            Problem(
                f"{dotted(path)}: the fallback chain is a circle, {' -> '.join(circle)}",
                place(layer, path),
                how="End the chain with a value, or with a model that does not lead back",
            )
        ]
    return []
