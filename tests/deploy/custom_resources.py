"""Objects of other operators, as far as they are used here: each key that may be written, and those that must be.

Their containers and volumes are checked against Kubernetes' own schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
COUNT = {"type": "integer", "minimum": 0}
ANY: dict[str, Any] = {"type": "object"}
DURATION = {"type": "string", "pattern": "^([0-9]+(h|m|s|ms))+$"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": required | (optional or {}),
    }


def _resource(spec: dict[str, Any]) -> dict[str, Any]:
    metadata = _object({"name": TEXT}, {"labels": ANY, "annotations": ANY, "namespace": TEXT})
    return _object({"apiVersion": TEXT, "kind": TEXT, "metadata": metadata, "spec": spec})


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


CERTIFICATE = _object(
    {"secretName": TEXT, "issuerRef": _object({"name": TEXT}, {"kind": TEXT, "group": TEXT}), "dnsNames": TEXTS},
    {
        "duration": DURATION,
        "renewBefore": DURATION,
        "usages": _list({"enum": ["digital signature", "key encipherment", "server auth", "client auth"]}),
        "privateKey": _object(
            {},
            {
                "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]},
                "size": COUNT,
                "rotationPolicy": {"enum": ["Never", "Always"]},
            },
        ),
    },
)
MONITOR = _object(
    {
        "selector": _object({"matchLabels": ANY}),
        "endpoints": _list(_object({"port": TEXT}, {"path": TEXT, "interval": DURATION})),
    }
)
RULE = _object(
    {"expr": TEXT},
    {"alert": TEXT, "record": TEXT, "for": DURATION, "keep_firing_for": DURATION, "labels": ANY, "annotations": ANY},
)
RULES = _object({"groups": _list(_object({"name": TEXT, "rules": _list(RULE)}, {"interval": DURATION}))})
TRIGGER = _object(
    {"type": TEXT, "metadata": {"type": "object", "additionalProperties": TEXT}},
    {"metricType": {"enum": ["AverageValue", "Value"]}, "name": TEXT, "authenticationRef": ANY},
)
SCALED = _object(
    {"scaleTargetRef": _object({"name": TEXT}, {"apiVersion": TEXT, "kind": TEXT}), "triggers": _list(TRIGGER)},
    {
        "minReplicaCount": COUNT,
        "maxReplicaCount": COUNT,
        "fallback": _object(
            {"failureThreshold": COUNT, "replicas": COUNT},
            {"behavior": {"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]}},
        ),
        "advanced": _object({"horizontalPodAutoscalerConfig": _object({"behavior": ANY})}),
    },
)
FORMAT = _object({"name": TEXT}, {"version": TEXT, "autoSelect": {"type": "boolean"}, "priority": COUNT})
RUNTIME = _object(
    {"containers": _list(ANY), "supportedModelFormats": _list(FORMAT), "protocolVersions": TEXTS},
    {"annotations": ANY, "volumes": _list(ANY)},
)
OF_CONTAINER = ("resources", "securityContext", "lifecycle", "args", "env")
MODEL = _object(
    {"modelFormat": _object({"name": TEXT}, {"version": TEXT}), "storageUri": TEXT},
    {"runtime": TEXT, "protocolVersion": {"enum": ["v1", "v2"]}, **{key: {} for key in OF_CONTAINER}},
)
PREDICTOR = _object(
    {"model": MODEL, "containers": _list(ANY)},
    {
        "labels": ANY,
        "annotations": ANY,
        "minReplicas": COUNT,
        "terminationGracePeriodSeconds": COUNT,
        "serviceAccountName": TEXT,
        "securityContext": ANY,
        "volumes": _list(ANY),
        **{key: {} for key in ("imagePullSecrets", "priorityClassName", "nodeSelector", "tolerations", "affinity")},
    },
)
OF_KSERVE = ("model", "minReplicas", "labels", "annotations")
"""Keys of a predictor that a pod's spec does not have."""

SCHEMAS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("cert-manager.io/v1", "Certificate"): _resource(CERTIFICATE),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _resource(MONITOR),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _resource(RULES),
    ("keda.sh/v1alpha1", "ScaledObject"): _resource(SCALED),
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): _resource(RUNTIME),
    ("serving.kserve.io/v1beta1", "InferenceService"): _resource(_object({"predictor": PREDICTOR})),
}


def pod_parts(item: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """What of it Kubernetes has a schema for, with that one's name."""
    spec = item["spec"]
    if item["kind"] == "ClusterServingRuntime":
        yield {"containers": spec["containers"], "volumes": spec["volumes"]}, "podspec-v1"
    elif item["kind"] == "InferenceService":
        predictor = {key: value for key, value in spec["predictor"].items() if key not in OF_KSERVE}
        model = {key: value for key, value in spec["predictor"]["model"].items() if key in OF_CONTAINER}
        yield predictor | {"containers": [*predictor["containers"], {"name": "model", **model}]}, "podspec-v1"
    elif item["kind"] == "ScaledObject":
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        yield behavior, "horizontalpodautoscalerbehavior-autoscaling-v2"
