"""Checks of the configuration as a whole that no single key can make: ladders that end, listeners that differ."""

import graphlib

from proxy.config.explain import dotted, place
from proxy.config.layer import Layer, Path
from proxy.config.schema import Config
from proxy.problem import Problem


def cross_check(config: Config, layer: Layer) -> list[Problem]:
    """Problems between keys; whether a rung's model exists is known only with the repository at hand."""
    return [*_listeners(config, layer), *_unreachable_rungs(config, layer), *_circle(config, layer)]


def _listeners(config: Config, layer: Layer) -> list[Problem]:
    grpc, http = config.listen.grpc, config.listen.http
    if grpc == http and (grpc.is_unix or grpc.port):
        what = f"listen.grpc and listen.http are both {grpc}"
        return [Problem(what, place(layer, ("listen", "http")), how="Give one of them another port")]
    return []


def _unreachable_rungs(config: Config, layer: Layer) -> list[Problem]:
    problems = []
    for name, settings in config.models.items():
        for i, rung in enumerate(settings.fallback[:-1]):
            if rung.value is not None:
                path: Path = ("models", name, "fallback", i)
                problems.append(
                    Problem(
                        f"{dotted(path)}: the rungs after a value are never reached",
                        place(layer, path),
                        "a value always answers",
                        "Move it to the end",
                    )
                )
    return problems


def _circle(config: Config, layer: Layer) -> list[Problem]:
    """The first circle among the rungs that are models."""
    rungs = {name: [r.model for r in s.fallback if r.model is not None] for name, s in config.models.items()}
    try:
        graphlib.TopologicalSorter(rungs).prepare()
    except graphlib.CycleError as error:
        # from a rung to the model that has it; the first is repeated at the end
        circle: list[str] = error.args[1][::-1]
        path: Path = ("models", circle[0], "fallback")
        return [
            Problem(
                f"{dotted(path)}: the fallback leads in a circle, {' -> '.join(circle)}",
                place(layer, path),
                how="Let the last rung be a value, or a model that has no way back",
            )
        ]
    return []
