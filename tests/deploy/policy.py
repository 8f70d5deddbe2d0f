"""Kubernetes' Pod Security Standard "restricted", and what goes beyond it for Modelward's own container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.deploy.kubernetes import containers, guard

VOLUMES = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
SECCOMP = ("RuntimeDefault", "Localhost")
OF_HOST = ("hostNetwork", "hostPID", "hostIPC")


def violations(pod: Mapping[str, Any]) -> list[str]:
    return [*_of_pod(pod), *(each for container in containers(pod) for each in _of_container(container, pod))]


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key} is true" for key in OF_HOST if pod.get(key))
    if pod.get("securityContext", {}).get("runAsUser") == 0:
        yield "the pod runs as root"
    for volume in pod.get("volumes", ()):
        if not {*volume} - {"name"} <= {*VOLUMES}:
            yield f"volume {volume['name']} is of no kind that is allowed"


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext", {})
    both = pod.get("securityContext", {}) | own
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{name}: keeps capabilities"
    if {*own.get("capabilities", {}).get("add", ())} - {"NET_BIND_SERVICE"}:
        yield f"{name}: adds capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield f"{name}: may run as root"
    if both.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield f"{name}: no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield f"{name}: has a port of the host"


def writable(pod: Mapping[str, Any]) -> set[str]:
    """Paths that Modelward's container may write; everything where its root is not read-only."""
    container = guard(pod)
    if container["securityContext"].get("readOnlyRootFilesystem") is not True:
        return {"/"}
    return {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
