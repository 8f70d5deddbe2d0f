"""What kustomize builds of deploy/kustomize: the same with kustomize and kubectl, valid, restricted, and served."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward.config.schema import Config
from modelward.config.units import SECOND
from tests.commands import modelward
from tests.deploy.kubernetes import NATIVE_SIDECARS, NEWEST, faults, guard, pod_specs
from tests.deploy.pods import MARGIN, laid_out, value_of
from tests.deploy.policy import violations, writable
from tests.deploy.release import RELEASE

pytest.importorskip("helm_python")

from scripts.manifests import kustomize

FOLDER = kustomize.FOLDER
BASES = sorted(path.name for path in (FOLDER / "base").iterdir())
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
BUILT = [f"base/{name}" for name in BASES] + [f"overlays/{name}" for name in OVERLAYS]


@cache
def built(name: str, *command: str) -> str:
    program = command or ("kustomize", "build")
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    done = subprocess.run([*program, str(FOLDER / name)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return done.stdout


def objects(name: str) -> list[dict[str, Any]]:
    return [*yaml.load_all(built(name), yaml.CSafeLoader)]


def test_what_is_generated_is_what_the_chart_renders() -> None:
    written = {path: path.read_text() for path in kustomize.files() if path.exists()}
    assert written == kustomize.files(), "run `make docs` and commit what it writes"


@pytest.mark.parametrize("name", BUILT)
def test_every_object_is_valid(name: str) -> None:
    items = objects(name)
    assert items
    for version in (NATIVE_SIDECARS, NEWEST):
        assert [f"{item['kind']}: {each}" for item in items for each in faults(item, version)] == []


@pytest.mark.parametrize("name", [f"overlays/{name}" for name in OVERLAYS])
def test_kubectl_builds_the_same(name: str) -> None:
    by_kubectl = [*yaml.load_all(built(name, "kubectl", "kustomize"), yaml.CSafeLoader)]
    assert by_kubectl == objects(name)


@pytest.mark.parametrize("name", BUILT)
def test_every_pod_keeps_to_the_restricted_policy(name: str) -> None:
    pods = [*pod_specs(objects(name))]
    assert pods and [each for pod in pods for each in violations(pod)] == []
    assert all(writable(pod) == {"/var/lib/modelward", "/run/modelward", "/tmp"} for pod in pods)


@pytest.mark.parametrize("name", [f"overlays/{name}" for name in OVERLAYS])
def test_modelward_accepts_each_configuration_whose_drain_fits(name: str, tmp_path: Path) -> None:
    items = objects(name)
    here = laid_out(tmp_path)
    configs = [item["data"]["modelward.yaml"] for item in items if item["kind"] == "ConfigMap"]
    for pod in pod_specs(items):
        arguments = guard(pod)["args"][1:]
        if "terminationGracePeriodSeconds" in pod:
            (config,) = configs
            drain = Config.model_validate({"drain": yaml.safe_load(config)["drain"]}).drain
            assert drain.delay / SECOND + drain.timeout / SECOND == pod["terminationGracePeriodSeconds"] - MARGIN
            (tmp_path / "modelward.yaml").write_text(here(config))
            arguments = ["--config", str(tmp_path / "modelward.yaml")]
        environment = {each["name"]: here(value_of(each)) for each in guard(pod)["env"]}
        done = modelward("check", "--offline", *map(here, arguments), **environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_components_change_what_they_are_for() -> None:
    items = {(item["kind"], item["metadata"]["name"]): item for item in objects("overlays/gateway")}
    deployment = items["Deployment", "modelward"]
    assert "replicas" not in deployment["spec"]
    for name in OVERLAYS:
        there = {(item["kind"], item["metadata"]["name"]): item.get("spec", {}) for item in objects(f"overlays/{name}")}
        targets = [spec["scaleTargetRef"] for spec in there.values() if "scaleTargetRef" in spec]
        assert len(targets) == (name in ("gateway", "models"))
        assert all((target["kind"], target["name"]) in there for target in targets)
    certificate = items["Certificate", "modelward"]
    secrets = {volume["secret"]["secretName"] for volume in volumes(deployment) if "secret" in volume}
    assert secrets == {"modelward-tls", "modelward-keys", "modelward-valkey"}
    assert certificate["spec"]["secretName"] in secrets
    assert "modelward.models.svc" in certificate["spec"]["dnsNames"]
    variables = {each["name"] for each in guard(deployment["spec"]["template"]["spec"])["env"]}
    assert {"MODELWARD__TLS__KEY", "MODELWARD__ACCESS__KEYS", "MODELWARD__LIMITS__SHARED__URL"} <= variables
    assert guard(deployment["spec"]["template"]["spec"])["image"] == f"registry.example/modelward:{RELEASE}"


def with_components(name: str, base: str, *components: str) -> str:
    """What an overlay in the namespace `risk` has of a base and these."""
    shutil.copytree(FOLDER, name, dirs_exist_ok=True)
    overlay = Path(name) / "overlays" / "own"
    overlay.mkdir()
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "risk",
        "resources": [f"../../base/{base}"],
        "components": [f"../../components/{each}" for each in components],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return str(overlay)


@pytest.mark.parametrize("base", ["gateway-embedded", "gateway-upstream"])
@pytest.mark.parametrize("component", ["hpa", "keda"])
def test_what_scales_finds_the_pods_of_any_base_in_any_namespace(base: str, component: str, tmp_path: Path) -> None:
    items = objects(with_components(str(tmp_path), base, component))
    (workload,) = [item for item in items if item["kind"] in ("Deployment", "StatefulSet")]
    (target,) = [item["spec"]["scaleTargetRef"] for item in items if "scaleTargetRef" in item.get("spec", {})]
    assert (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"])
    told = [re.findall(r"namespace(\S+?),", query) for query in queries(items)]
    assert told == ([['=~".+"']] if component == "keda" else [])


def test_an_overlay_scales_by_the_pods_of_its_own_namespace() -> None:
    items = objects("overlays/models")
    assert [re.findall(r"namespace(\S+?),", query) for query in queries(items)] == [['=~"models"']]


def queries(items: list[dict[str, Any]]) -> list[str]:
    scaled = [item for item in items if item["kind"] == "ScaledObject"]
    return [each["metadata"]["query"] for item in scaled for each in item["spec"]["triggers"]]


@pytest.mark.parametrize("base", ["gateway-embedded", "gateway-upstream"])
def test_gateways_of_several_namespaces_that_use_one_store_are_apart(base: str, tmp_path: Path) -> None:
    (pod,) = pod_specs(objects(with_components(str(tmp_path / "k"), base, "valkey", "fleet")))
    env = {each["name"]: each for each in guard(pod)["env"]}
    for name in ("MODELWARD__LIMITS__SHARED__PREFIX", "MODELWARD__FLEET__NAME"):
        assert env[name]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    file = env["MODELWARD__FLEET__PASSWORD_FILE"]["value"]
    assert any(file.startswith(f"{mount['mountPath']}/") for mount in guard(pod)["volumeMounts"])
    here = laid_out(tmp_path)
    settings = {name: here(value_of(each)) for name, each in env.items() if name.startswith("MODELWARD__")}
    done = modelward("check", tmp_path / "models", "--offline", **settings)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_application_of_ones_own_gets_the_sidecar_and_keeps_the_rest() -> None:
    (shop,) = [item for item in objects("overlays/application") if item["kind"] == "Deployment"]
    pod = shop["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["shop"]
    assert [(each["name"], each["restartPolicy"]) for each in pod["initContainers"]] == [("modelward", "Always")]
    mounted = {mount["name"] for mount in guard(pod)["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def volumes(workload: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workload["spec"]["template"]["spec"]["volumes"]
    return found
