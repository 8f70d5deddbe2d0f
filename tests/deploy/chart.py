"""The chart of deploy/helm, rendered as `helm install` would, for values of every shape, backend and option."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import yaml

from scripts.docs import ROOT

helm = pytest.importorskip("helm_python")

CHART = ROOT / "deploy" / "helm" / "modelward"
NAMESPACE = "models"
CLAIM = {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
PODS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]

UPSTREAM: dict[str, Any] = {
    "backend": {"kind": "upstream", "upstreams": ["dns:///triton-headless:8001"]},
    "config": {"limits": {"identity": {"rate": "100/s"}}},
}
EMBEDDED: dict[str, Any] = {"models": {"volume": CLAIM}, "config": {"models": {"add": {"deadline": "50ms"}}}}
ONE_CLAIM: dict[str, Any] = EMBEDDED | {"state": {"kind": "existingClaim", "existingClaim": "state"}}
APPLICATION = {"name": "shop", "image": "registry.example/shop:1", "ports": [{"containerPort": 8080}]}
OF_PODS: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "registry"}]},
    "podLabels": {"team": "risk"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "models", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
}
CPU = {
    "type": "ContainerResource",
    "containerResource": {
        "container": "shop",
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    },
}
WAKES = {
    "type": "cron",
    "metadata": {"timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *", "desiredReplicas": "1"},
}


def in_front_of(kind: str) -> dict[str, Any]:
    backend = {"kind": kind, "image": f"registry.example/{kind}:1", "args": [], "env": [{"name": "A", "value": "1"}]}
    return {"shape": "sidecar", "backend": backend, "models": {"volume": CLAIM}}


MATRIX: dict[str, dict[str, Any]] = {
    "gateway before servers": UPSTREAM,
    "gateway with models": EMBEDDED,
    "gateway with state of its own": EMBEDDED
    | {"workload": "StatefulSet", "state": {"kind": "claim", "size": "5Gi", "storageClassName": "fast"}},
    "gateway with a claim that is there": EMBEDDED
    | {"replicas": 1, "state": {"kind": "existingClaim", "existingClaim": "modelward-state"}},
    "gateway with every Secret": UPSTREAM
    | {
        "tls": {"secretName": "server", "clientCA": "ca.crt", "requireClientCertificate": True},
        "admin": {"secretName": "operators"},
        "keys": {"secretName": "keys"},
        "secrets": ["issuer", "a-name-that-is-too-long-for-a-volume." * 2 + "example"],
        "config": {
            "access": {
                "jwt": {"issuer": "https://a.example", "audience": "b", "jwks": "/etc/modelward/secrets/issuer/jwks"},
                "rules": [{"identity": "*", "by": "any", "models": "*"}],
            }
        },
    },
    "gateway with stores": UPSTREAM
    | {
        "valkey": {"url": "rediss://valkey.data:6379/0", "secretName": "valkey", "passwordKey": "password"},
        "postgres": {"url": "postgresql://audit@postgres.data/audit", "secretName": "pg", "passwordKey": "password"},
        "fleet": "valkey",
    },
    "gateway with stores whose URLs are secret": UPSTREAM
    | {
        "valkey": {"secretName": "valkey", "urlKey": "url"},
        "postgres": {"secretName": "pg", "urlKey": "url", "passwordKey": "password"},
        "fleet": "postgres",
        "config": {"limits": {"shared": {"interval": "200ms"}, "total": {"rate": "1000/s"}}},
    },
    "gateway watched and scaled by HPA": UPSTREAM
    | {
        "certManager": {"enabled": True, "issuerRef": {"name": "models", "kind": "ClusterIssuer"}},
        "autoscaling": {"kind": "hpa", "maxReplicas": 20, "metrics": [CPU]},
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "runbooks": "https://docs.example/"},
        },
    },
    "gateway scaled by KEDA to zero": UPSTREAM
    | {
        "autoscaling": {"kind": "keda", "minReplicas": 0, "utilization": 100, "triggers": [WAKES]},
        "terminationGracePeriodSeconds": 300,
    },
    "gateway behind a narrow policy": UPSTREAM
    | {
        "admin": {"secretName": "operators"},
        "networkPolicy": {
            "clients": PODS,
            "monitoring": PODS,
            "operators": PODS,
            "egress": [{"to": PODS, "ports": [{"port": 8001}]}],
        },
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
    },
    "gateway with everything of a pod": UPSTREAM
    | {
        **OF_PODS,
        "listen": {"host": "::"},
        "env": [{"name": "GOMAXPROCS", "value": "1"}],
        "serviceAccount": {"annotations": {"a": "b"}},
        "terminationGracePeriodSeconds": 15,
    },
    "sidecar of an application": EMBEDDED | {"shape": "sidecar", "application": APPLICATION},
    "sidecar of an application with operators": EMBEDDED
    | {
        "shape": "sidecar",
        "application": APPLICATION,
        "admin": {"secretName": "operators"},
        "networkPolicy": {"operators": PODS},
    },
    "sidecar of an application for ten minutes": EMBEDDED
    | {"shape": "sidecar", "application": APPLICATION, "terminationGracePeriodSeconds": 600},
    "sidecar before Triton": in_front_of("triton"),
    "sidecar before MLServer": in_front_of("mlserver") | {"terminationGracePeriodSeconds": 90},
    "sidecar of a predictor": {
        "shape": "sidecar",
        "backend": {"kind": "kserve", "port": 8081},
        "kserve": {"storageUri": "s3://models/fraud", "runtimeName": "kserve-tritonserver"},
    },
    "sidecar of a predictor with operators": {
        "shape": "sidecar",
        "backend": {"kind": "kserve", "port": 8081},
        "kserve": {"storageUri": "s3://models/fraud"},
        "admin": {"secretName": "operators"},
    },
    "runtime of KServe": UPSTREAM | {"kserve": {"runtime": {"enabled": True}}},
    "sidecar of a predictor with everything of a pod": {
        "shape": "sidecar",
        "backend": {"kind": "kserve"},
        "kserve": {"storageUri": "s3://models/fraud"},
        **OF_PODS,
    },
}


@cache
def _chart() -> Any:
    return helm.Chart.load(CHART)


def render(values: dict[str, Any], version: str = "", release: str = "demo") -> list[dict[str, Any]]:
    """The objects. version: of Kubernetes."""
    given = copy.deepcopy(values) | ({"kubeVersion": f"v{version}"} if version else {})
    pages = _chart().render(given, name=release, namespace=NAMESPACE)
    texts = [text for name, text in pages.items() if name.endswith(".yaml")]
    return [item for text in texts for item in yaml.load_all(text, yaml.CSafeLoader) if item]


def one(items: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [item for item in items if item["kind"] == kind]
    return found


def configuration(items: list[dict[str, Any]]) -> dict[str, Any]:
    return yaml.safe_load(one(items, "ConfigMap")["data"]["modelward.yaml"])
