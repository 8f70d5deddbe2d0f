"""Objects of Kubernetes: whether they are valid for a version of it, and what pods they make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("kubernetes_validate")

from referencing import Registry, Resource  # noqa: E402 - comes with jsonschema

from tests.deploy.custom_resources import SCHEMAS, pod_parts  # noqa: E402

OLDEST, NEWEST = "1.27.0", "1.37.0"
NATIVE_SIDECARS = "1.29.0"
"""From which version on init containers may go on for as long as the pod does."""
Object = Mapping[str, Any]


@cache
def _registry(version: str) -> Any:
    definitions = json.loads((_folder(version) / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


def _folder(version: str) -> Any:
    return files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"


@cache
def _validator(version: str, name: str) -> Any:
    schema = json.loads((_folder(version) / f"{name}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=_registry(version))


def faults(item: Object, version: str) -> list[str]:
    """Why the API server of this version would not take it, or not all of it. Keys that it does not know are faults."""
    words = [*wrong_words(item)]
    return words + _of_schema(item, version)


def _of_schema(item: Object, version: str) -> list[str]:
    api, kind = item["apiVersion"], item["kind"]
    if (schema := SCHEMAS.get((api, kind))) is not None:
        found = _told(jsonschema.Draft202012Validator(schema), item)
        return found + [each for part, name in pod_parts(item) for each in _told(_validator(version, name), part)]
    group, _, number = api.rpartition("/")
    name = f"{kind.lower()}-{group.partition('.')[0]}{'-' if group else ''}{number}"
    return _told(_validator(version, name), item)


WORDS = {
    "accessModes": {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "medium": {"Memory"},
    "podManagementPolicy": {"OrderedReady", "Parallel"},
    "policyTypes": {"Ingress", "Egress"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "selectPolicy": {"Max", "Min", "Disabled"},
    "unhealthyPodEvictionPolicy": {"AlwaysAllow", "IfHealthyBudget"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
}
"""What the API server takes where its schema says no more than text."""


def wrong_words(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, each in node.items():
            yield from wrong_words(each, name)
    elif isinstance(node, list):
        for each in node:
            yield from wrong_words(each, key)
    elif key in WORDS and node not in WORDS[key]:
        yield f"{key}: {node} is none of {', '.join(sorted(WORDS[key]))}"


def _told(validator: Any, item: Any) -> list[str]:
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(item)]


def pod_specs(items: list[Any]) -> Iterator[dict[str, Any]]:
    """Of all objects that make pods. A predictor's model is one of its containers."""
    for item in items:
        spec = item.get("spec", {})
        if item["kind"] in ("Deployment", "StatefulSet"):
            yield spec["template"]["spec"]
        elif item["kind"] == "InferenceService":
            predictor = dict(spec["predictor"])
            model = {key: value for key, value in predictor.pop("model").items() if key not in MODEL_ALONE}
            yield predictor | {"containers": [{"name": "kserve-container", **model}, *predictor["containers"]]}
        elif item["kind"] == "ClusterServingRuntime":
            yield spec


MODEL_ALONE = ("modelFormat", "runtime", "storageUri", "protocolVersion")


def containers(pod: Object) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def guard(pod: Object) -> dict[str, Any]:
    """The container of Modelward."""
    (found,) = [each for each in containers(pod) if each.get("args", [""])[0] == "serve"]
    return found
