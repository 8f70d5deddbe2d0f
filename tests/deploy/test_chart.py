"""What the chart renders: valid for the oldest and the newest Kubernetes, restricted, and true to what it says."""

from __future__ import annotations

import copy
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward.config.schema import Config
from modelward.config.units import SECOND
from scripts.docs import ROOT
from scripts.manifests import values_schema
from tests.commands import modelward
from tests.deploy.chart import (
    CHART,
    EMBEDDED,
    MATRIX,
    ONE_CLAIM,
    PODS,
    UPSTREAM,
    configuration,
    helm,
    in_front_of,
    one,
    render,
)
from tests.deploy.kubernetes import NATIVE_SIDECARS, NEWEST, OLDEST, containers, faults, guard, pod_specs
from tests.deploy.pods import MARGIN, laid_out, value_of
from tests.deploy.policy import violations, writable

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What the API server takes as the name of a volume or a container; its schema does not say so."""
VERSIONS = (OLDEST, NATIVE_SIDECARS, NEWEST)


def rendered() -> list[Any]:
    return [pytest.param(name, version, id=f"{name}, {version}") for name in MATRIX for version in (OLDEST, NEWEST)]


@pytest.mark.parametrize(("name", "version"), rendered())
def test_every_object_is_valid(name: str, version: str) -> None:
    items = render(MATRIX[name], version)
    assert len({(item["kind"], item["metadata"]["name"]) for item in items}) == len(items) > 1
    assert [f"{item['kind']}: {each}" for item in items for each in faults(item, version)] == []


@pytest.mark.parametrize(("name", "version"), rendered())
def test_every_pod_keeps_to_the_restricted_policy(name: str, version: str) -> None:
    pods = [*pod_specs(render(MATRIX[name], version))]
    assert pods and [each for pod in pods for each in violations(pod)] == []
    for pod in pods:
        assert writable(pod) == {"/var/lib/modelward", "/run/modelward", "/tmp"}
        assert guard(pod)["securityContext"]["runAsUser"] > 0


@pytest.mark.parametrize(("name", "version"), rendered())
def test_probes_drain_and_hooks_fit_into_the_grace_period(name: str, version: str) -> None:
    items = render(MATRIX[name], version)
    for pod in pod_specs(items):
        grace = pod.get("terminationGracePeriodSeconds", 30)  # what Kubernetes gives the pods of a runtime of KServe
        probe = guard(pod)["readinessProbe"]
        words = [word.removeprefix("--set=drain.") for word in guard(pod)["args"] if word.startswith("--set=drain.")]
        told = dict(word.split("=") for word in words) or configuration(items)["drain"]
        drain = Config.model_validate({"drain": told}).drain
        delay, timeout = drain.delay / SECOND, drain.timeout / SECOND
        assert delay + timeout == grace - MARGIN
        assert timeout >= 5
        if any(port["containerPort"] == 8001 for port in guard(pod)["ports"]):
            # what goes by readiness alone has seen it before the first connection is refused
            assert (
                0 < probe["periodSeconds"] * probe.get("failureThreshold", 3) + probe.get("timeoutSeconds", 1) <= delay
            )
        for container in pod["containers"]:
            if container["name"] in ("triton", "mlserver", "kserve-container") and container != guard(pod):
                assert delay + timeout <= seconds_of_hook(container) <= grace - MARGIN


def seconds_of_hook(container: dict[str, Any]) -> int:
    """What a model server that is told to end together with Modelward waits for."""
    hook = container["lifecycle"]["preStop"]
    return int(hook["sleep"]["seconds"] if "sleep" in hook else hook["exec"]["command"][1])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["triton", "mlserver"])
def test_a_model_server_is_there_before_modelward_and_until_after_it(kind: str, version: str) -> None:
    (pod,) = pod_specs(render(in_front_of(kind), version))
    if version == OLDEST:
        assert [each["name"] for each in pod["containers"]] == ["modelward", kind] and "initContainers" not in pod
        return
    (backend,) = pod["initContainers"]
    assert backend["name"] == kind and backend["restartPolicy"] == "Always" and "lifecycle" not in backend
    assert [each["name"] for each in pod["containers"]] == ["modelward"]


@pytest.mark.parametrize("version", VERSIONS)
def test_modelward_is_there_before_an_application_and_until_after_it(version: str) -> None:
    items = render(MATRIX["sidecar of an application"], version)
    (pod,) = pod_specs(items)
    drain = configuration(items)["drain"]
    if version == OLDEST:  # both are told to end at once, and the application may take nearly all of the time
        assert [each["name"] for each in pod["containers"]] == ["shop", "modelward"]
        assert drain == {"delay": "20s", "timeout": "5s"}
        return
    assert [each["name"] for each in pod["initContainers"]] == ["modelward"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    assert pod["initContainers"][0]["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert drain["delay"] == "0s"


@pytest.mark.parametrize("name", MATRIX)
def test_what_refers_to_something_finds_it(name: str) -> None:
    items = render(MATRIX[name])
    made = {(item["kind"], item["metadata"]["name"]) for item in items}
    for pod in pod_specs(items):
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        own = [
            item["spec"] for item in items if item["kind"] == "StatefulSet" and item["spec"]["template"]["spec"] is pod
        ]
        claims = {claim["metadata"]["name"] for spec in own for claim in spec.get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", ())}
        assert mounted == volumes | claims
        names = volumes | {each["name"] for each in containers(pod)}
        assert [name for name in names if not LABEL.fullmatch(name)] == []
        assert all(
            len(port["name"]) <= 15 for each in containers(pod) for port in each.get("ports", ()) if "name" in port
        )
        assert all(("ConfigMap", v["configMap"]["name"]) in made for v in pod.get("volumes", ()) if "configMap" in v)
        assert pod.get("serviceAccountName", "") in ("", *(n for kind, n in made if kind == "ServiceAccount"))
    workloads = [item for item in items if item["kind"] in ("Deployment", "StatefulSet")]
    for workload in workloads:
        template = workload["spec"]["template"]
        labels, ports = template["metadata"]["labels"], {p["containerPort"] for p in guard(template["spec"])["ports"]}
        for item in items:
            spec = item.get("spec", {})
            if item["kind"] == "Service":
                assert spec["selector"].items() <= labels.items()
                assert {port["targetPort"] for port in spec["ports"]} <= ports
            elif item["kind"] == "ServiceMonitor":
                wanted = spec["selector"]["matchLabels"].items()
                (service,) = [s for s in items if s["kind"] == "Service" and wanted <= s["metadata"]["labels"].items()]
                assert {each["port"] for each in spec["endpoints"]} <= {
                    port["name"] for port in service["spec"]["ports"]
                }
            elif item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
                target = spec["scaleTargetRef"]
                assert (target["kind"], target["name"]) in made and "replicas" not in workload["spec"]
            elif item["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
                selector = spec.get("selector") or spec["podSelector"]
                assert selector["matchLabels"].items() <= labels.items()
        if workload["kind"] == "StatefulSet":
            assert ("Service", workload["spec"]["serviceName"]) in made


def different() -> list[str]:
    """Names of values that give different configurations."""
    seen: dict[str, str] = {}
    for name, values in MATRIX.items():
        items = render(values)
        servers = [(guard(pod)["args"], guard(pod)["env"]) for pod in pod_specs(items)]
        seen.setdefault(f"{one(items, 'ConfigMap')['data']}{servers}", name)
    return [*seen.values()]


@pytest.mark.parametrize("name", different())
def test_modelward_accepts_each_configuration(name: str, tmp_path: Path) -> None:
    items = render(MATRIX[name])
    here = laid_out(tmp_path)
    for number, pod in enumerate(pod_specs(items)):
        file = tmp_path / f"{number}.yaml"
        config = one(items, "ConfigMap")["data"]["modelward.yaml"]
        file.write_text(here(config))
        arguments = [here(word) for word in guard(pod)["args"]]
        assert arguments[0] == "serve"
        named = [file if word.endswith("modelward.yaml") else word for word in arguments[1:]]
        environment = {each["name"]: here(value_of(each)) for each in guard(pod)["env"]}
        done = modelward("check", "--offline", *named, **environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_reaches_a_model_but_through_modelward() -> None:
    for kind in ("triton", "mlserver"):
        (pod,) = pod_specs(render(in_front_of(kind)))
        (backend,) = pod["initContainers"]
        told = " ".join(backend.get("args", [])) + str(backend["env"])
        assert "127.0.0.1" in told and "0.0.0.0" not in told and "ports" not in backend
    items = render(MATRIX["sidecar of an application"])
    assert configuration(items)["listen"]["grpc"] == "127.0.0.1:8001"
    assert all(port["port"] != 8001 for item in items if item["kind"] == "Service" for port in item["spec"]["ports"])


@pytest.mark.parametrize("name", MATRIX)
def test_the_admin_api_is_reached_from_outside_only_with_certificates(name: str) -> None:
    found = configuration(render(MATRIX[name]))
    assert (found["listen"]["admin"] == "unix:/run/modelward/admin.sock") != ("admin_tls" in found)


def reach_admin(items: list[dict[str, Any]]) -> list[Any]:
    """Of each rule that lets the port of the admin API through, who may come; None where all may."""
    return [
        rule.get("from")
        for rule in one(items, "NetworkPolicy")["spec"]["ingress"]
        for port in rule["ports"]
        if port["protocol"] == "TCP" and port.get("port", 1) <= 8003 <= port.get("endPort", port.get("port", 65535))
    ]


@pytest.mark.parametrize("name", [name for name, values in MATRIX.items() if "admin" in values])
@pytest.mark.parametrize("operators", [[], PODS])
def test_the_port_of_the_admin_api_is_open_to_operators_alone(name: str, operators: list[Any]) -> None:
    items = render(MATRIX[name] | {"networkPolicy": {"operators": operators}})
    assert "admin_tls" in configuration(items)
    assert reach_admin(items) == ([operators] if operators else [])


@pytest.mark.parametrize("name", [name for name in MATRIX if name.endswith("with operators")])
def test_a_policy_for_a_pod_with_others_closes_nothing_but_the_admin_api(name: str) -> None:
    items = render(MATRIX[name])
    rules = [
        port for rule in one(items, "NetworkPolicy")["spec"]["ingress"] if "from" not in rule for port in rule["ports"]
    ]
    open_ports = {n for each in rules if "port" in each for n in range(each["port"], each["endPort"] + 1)}
    assert open_ports == {*range(1, 65536)} - {8003}
    assert {each["protocol"] for each in rules if "port" not in each} == {"UDP", "SCTP"}
    (pod,) = pod_specs(items)
    assert any(port["containerPort"] == 8003 for port in guard(pod)["ports"])


@pytest.mark.parametrize(
    ("kind", "where"), [("ClusterIP", ""), ("LoadBalancer", "-headless"), ("NodePort", "-headless")]
)
def test_the_admin_api_is_not_published_outside_the_cluster(kind: str, where: str) -> None:
    items = render(MATRIX["gateway with every Secret"] | {"service": {"type": kind}})
    services = [item for item in items if item["kind"] == "Service"]
    with_admin = [each for each in services if any(port["port"] == 8003 for port in each["spec"]["ports"])]
    assert [each["metadata"]["name"] for each in with_admin] == [f"demo-modelward{where}"]


def test_pods_are_replaced_for_changes_that_a_running_server_cannot_follow() -> None:
    assert values_schema.FIXED_FILE.read_text() == values_schema.fixed_keys(), (
        "run `make docs` and commit what it writes"
    )
    now = restart_of(UPSTREAM)
    assert restart_of(UPSTREAM | {"config": {"workers": 2}}) != now
    assert restart_of(UPSTREAM | {"config": {"detection": {"identities": 4096}}}) != now
    rules = {"config": {"access": {"rules": [{"identity": "*", "by": "any", "models": "*"}]}}}
    assert restart_of(UPSTREAM | rules | {"keys": {"secretName": "keys"}}) != now
    assert restart_of(UPSTREAM | {"valkey": {"url": "redis://valkey:6379"}}) != now
    assert (
        restart_of(UPSTREAM | {"terminationGracePeriodSeconds": 60, "config": {"limits": {"total": {"rate": "1/s"}}}})
        == now
    )
    assert restart_of(UPSTREAM | {"config": {"models": {"a": {"deadline": "1s"}}}}) == now


VALKEY = {"valkey": {"url": "redis://valkey.data:6379"}, "fleet": "valkey"}
SECRET = {"valkey": {"secretName": "valkey", "urlKey": "url"}, "fleet": "valkey"}
IN_CONFIG = {"config": {"fleet": "redis://valkey.data:6379", "limits": {"shared": "redis://valkey.data:6379"}}}
FORGOTTEN = "what was promoted is forgotten with the pod"
BY_MODEL = {"config": {"models": {"add": {"version_policy": "promoted"}}}}


def notes(values: dict[str, Any]) -> str:
    pages = helm.Chart.load(CHART).render(copy.deepcopy(values), name="demo", namespace="models")
    return next(text for name, text in pages.items() if name.endswith("NOTES.txt"))


def test_the_notes_say_that_promotions_are_lost_where_they_are() -> None:
    assert FORGOTTEN in notes(UPSTREAM | BY_MODEL)
    assert FORGOTTEN in notes(UPSTREAM | {"config": {"version_policy": "promoted"}})
    assert FORGOTTEN not in notes(UPSTREAM)
    told = notes(UPSTREAM | BY_MODEL | VALKEY)
    assert FORGOTTEN not in told and "build it with EXTRAS=redis" in told


APPROVED = {"config": {"operators": {"bindings": [{"user": "ada", "roles": ["approver"]}]}, "approvals": {}}}
IN_POSTGRES = {"postgres": {"url": "postgresql://audit@pg/audit"}}
KEPT = {"workload": "StatefulSet", "state": {"kind": "claim"}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"config": {"approvals": {"promote": 1}}}, "a new pod takes the files that it finds as approved"),
        (IN_POSTGRES, "each new pod begins an audit log of its own, and its key is gone with it"),
        (APPROVED, "the audit log of what operators do is gone with the pod"),
    ],
)
def test_the_notes_say_what_is_gone_with_the_pod(values: dict[str, Any], told: str) -> None:
    assert told in notes(UPSTREAM | values)
    assert told not in notes(UPSTREAM | values | KEPT)
    assert told not in notes(UPSTREAM)


def test_the_notes_say_that_no_pod_reaches_the_admin_api() -> None:
    told = "The admin API is closed to every other pod"
    closed = UPSTREAM | {"admin": {"secretName": "operators"}}
    assert told in notes(closed)
    assert told not in notes(closed | {"networkPolicy": {"operators": PODS}})
    assert told not in notes(UPSTREAM)


@pytest.mark.parametrize("name", MATRIX)
def test_modelward_waits_for_model_servers_as_long_as_its_startup_probe(name: str) -> None:
    items = render(MATRIX[name] | {"startupSeconds": 300})
    found = configuration(items)
    pod = next(iter(pod_specs(items)))
    assert guard(pod)["startupProbe"]["failureThreshold"] == 300
    assert found.get("health") == ({"startup": "300s"} if "upstreams" in found else None)


def test_modelward_waits_as_long_as_config_says_where_it_does() -> None:
    health = {"startup": "10s", "interval": "1s"}
    one_elsewhere = {"config": {"models": {"a": {"upstreams": ["triton:8001"]}}, "health": health}}
    assert configuration(render(EMBEDDED | one_elsewhere))["health"] == health
    del health["startup"]
    assert configuration(render(EMBEDDED | one_elsewhere))["health"] == {"interval": "1s", "startup": "120s"}


@pytest.mark.parametrize(
    "name", ["gateway with everything of a pod", "sidecar of a predictor with everything of a pod"]
)
def test_what_is_said_of_pods_holds_for_those_of_any_workload(name: str) -> None:
    values = MATRIX[name] | {"serviceAccount": {"create": False, "name": "storage"}}
    items = render(values)
    (pod,) = pod_specs(items)
    keys = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    assert {key: pod[key] for key in keys} == {key: values[key] for key in keys}
    assert pod["imagePullSecrets"] == values["image"]["pullSecrets"]
    assert guard(pod)["image"].endswith(values["image"]["digest"])
    (about,) = (
        spec["predictor"] if "predictor" in spec else spec["template"]["metadata"]
        for spec in (item["spec"] for item in items if item["kind"] in ("InferenceService", "Deployment"))
    )
    assert values["podLabels"].items() <= about["labels"].items()
    assert values["podAnnotations"].items() <= about["annotations"].items()
    assert pod["serviceAccountName"] == "storage"


def test_a_claim_of_one_server_has_one_pod_at_a_time() -> None:
    assert one(render(ONE_CLAIM | {"replicas": 1}), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert one(render(UPSTREAM), "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


@pytest.mark.parametrize("values", [VALKEY, SECRET, IN_CONFIG], ids=["by url", "by Secret", "in config"])
def test_releases_that_use_one_store_share_neither_limits_nor_promotions(values: dict[str, Any]) -> None:
    def names(release: str) -> tuple[str, str]:
        found = configuration(render(UPSTREAM | values, release=release))
        return found["fleet"]["name"], found["limits"]["shared"]["prefix"]

    assert names("fraud") == ("models.fraud", "models.fraud")
    long = [names("a" * 52 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name) <= 63 for pair in long for name in pair)


def test_releases_share_a_fleet_and_limits_where_they_say_so() -> None:
    said = {"config": {"fleet": {"name": "all"}, "limits": {"shared": {"prefix": "some"}}}}
    found = configuration(render(UPSTREAM | VALKEY | said))
    assert found["fleet"] == {"name": "all", "url": "redis://valkey.data:6379"}
    assert found["limits"]["shared"] == {"prefix": "some", "url": "redis://valkey.data:6379"}


@pytest.mark.parametrize("name", MATRIX)
def test_commands_in_a_pod_find_the_socket_of_the_admin_api(name: str) -> None:
    items = render(MATRIX[name])
    for pod in pod_specs(items):
        told = {each["name"]: each.get("value") for each in guard(pod)["env"]}.get("MODELWARD_ADMIN")
        configured = [word.removeprefix("--set=listen.admin=") for word in guard(pod)["args"] if "listen.admin" in word]
        where = configured[0] if configured else configuration(items)["listen"]["admin"]
        assert told == (where if where.startswith("unix:") else None)


def test_alerts_are_those_of_prometheus_own_file() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
    items = render(MATRIX["gateway watched and scaled by HPA"])
    there = yaml.safe_dump(one(items, "PrometheusRule")["spec"]["groups"])
    assert there == yaml.safe_dump(groups).replace("https://modelward.example", "https://docs.example")
    assert "https://docs.example/how-to/" in there


def restart_of(values: dict[str, Any]) -> str:
    return str(one(render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]["modelward/restart"])


def test_the_packaged_chart_is_whole_and_of_this_release(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == project["version"]
    with tarfile.open(helm.package(CHART, destination=tmp_path)) as package:
        there = {member.name.removeprefix("modelward/"): member for member in package.getmembers()}
    wanted = [path for path in CHART.rglob("*") if path.is_file() and path.name != ".helmignore"]
    assert {str(path.relative_to(CHART)) for path in wanted} <= there.keys()
    assert there["files/rules.yaml"].isreg(), "a link leads out of the package"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_helm_finds_nothing_wrong(version: str) -> None:
    report = helm.lint(CHART, UPSTREAM, strict=True, kube_version=f"v{version}")
    assert report["errors"] == [] and all(each["severity"] <= 1 for each in report["messages"])
