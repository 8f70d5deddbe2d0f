"""Values of the chart: what does not fit together is refused, and what guide and schema name is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import yaml

from modelward.config.changes import FIXED, OF_MODELS, OF_RULES
from scripts.docs import ROOT
from scripts.manifests import values_schema
from tests.deploy.chart import (
    APPLICATION,
    CHART,
    CPU,
    EMBEDDED,
    MATRIX,
    ONE_CLAIM,
    PODS,
    UPSTREAM,
    WAKES,
    configuration,
    helm,
    render,
)

BESIDE = MATRIX["sidecar of an application"]
PREDICTOR = MATRIX["sidecar of a predictor"]
ADMIN = {"admin": {"secretName": "operators"}}
IN_POSTGRES = {"postgres": {"url": "postgresql://audit@pg/audit"}}


def bound(*bindings: dict[str, Any]) -> dict[str, Any]:
    """The value `config` with operators."""
    return {"config": {"operators": {"bindings": [each | {"roles": ["viewer"]} for each in bindings]}}}


OF_CERTIFICATE = bound({"certificate": "ada@example.com"})
ISSUED = {"enabled": True, "issuerRef": {"name": "models"}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"shape": "sidecar", "backend": {"kind": "upstream"}}, "write one of embedded, triton, mlserver, kserve"),
        ({"backend": {"kind": "upstream"}}, "there are no backend.upstreams"),
        (EMBEDDED | {"shape": "sidecar"}, "set application.name and application.image"),
        ({"shape": "sidecar", "backend": {"kind": "triton"}}, "set backend.image"),
        ({}, "set models.volume"),
        ({"shape": "sidecar", "backend": {"kind": "kserve"}}, "set kserve.storageUri"),
        (EMBEDDED | {"state": {"kind": "claim"}}, "set workload: StatefulSet"),
        (EMBEDDED | {"state": {"kind": "existingClaim"}}, "set state.existingClaim"),
        (UPSTREAM | {"certManager": {"enabled": True}}, "set certManager.issuerRef"),
        (UPSTREAM | {"valkey": {"urlKey": "url"}}, "set valkey.secretName"),
        (UPSTREAM | {"fleet": "valkey"}, "set valkey.url or valkey.urlKey"),
        (UPSTREAM | {"tls": {"secretName": "a", "requireClientCertificate": True}}, "set tls.clientCA"),
        (UPSTREAM | {"tls": {"clientCA": "ca.crt", "requireClientCertificate": True}}, "set tls.secretName"),
        (BESIDE | {"tls": {"secretName": "a"}}, "leave tls and certManager out"),
        (BESIDE | {"certManager": ISSUED}, "leave tls and certManager out"),
        (PREDICTOR | {"certManager": ISSUED}, "set tls.secretName instead"),
        (ONE_CLAIM, "set replicas: 1"),
        (ONE_CLAIM | {"workload": "StatefulSet"}, "set replicas: 1"),
        (ONE_CLAIM | {"replicas": 1, "autoscaling": {"kind": "hpa"}}, "autoscaling adds others"),
        (PREDICTOR | {"replicas": 1, "state": ONE_CLAIM["state"]}, "share promotions with fleet"),
        (PREDICTOR | {"workload": "StatefulSet"}, "KServe makes the Deployment"),
        (EMBEDDED | {"state": {"existingClaim": "a"}}, "set state.kind: existingClaim"),
        (UPSTREAM | {"keys": {"secretName": "a"}}, "write config.access.rules"),
        (UPSTREAM | {"valkey": {"secretName": "a"}}, "set valkey.urlKey or valkey.passwordKey"),
        (UPSTREAM | {"postgres": {"secretName": "a"}}, "set postgres.urlKey or postgres.passwordKey"),
        (UPSTREAM | {"valkey": {"secretName": "a", "passwordKey": "b"}}, "set valkey.url or valkey.urlKey"),
        (UPSTREAM | {"valkey": {"url": "redis://a", "secretName": "a", "urlKey": "b"}}, "leave one out"),
        (UPSTREAM | {"config": {"fleet": {"name": "a"}}}, "set fleet: valkey or fleet: postgres"),
        (UPSTREAM | {"autoscaling": {"kind": "keda", "minReplicas": 0}}, "what wakes the first one"),
        (UPSTREAM | {"autoscaling": {"kind": "hpa", "minReplicas": 0}}, "write 1 or more"),
        (UPSTREAM | {"autoscaling": {"kind": "hpa", "minReplicas": 3, "maxReplicas": 2}}, "more than maxReplicas"),
        (UPSTREAM | {"autoscaling": {"kind": "keda", "prometheus": ""}}, "set autoscaling.prometheus"),
        (UPSTREAM | {"autoscaling": {"kind": "hpa", "triggers": [WAKES]}}, "set autoscaling.kind: keda"),
        (UPSTREAM | {"autoscaling": {"triggers": [WAKES]}}, "set autoscaling.kind: keda"),
        (UPSTREAM | {"autoscaling": {"metrics": [CPU]}}, "set autoscaling.kind: hpa"),
        (PREDICTOR | {"autoscaling": {"kind": "hpa"}}, "leave it out"),
        (PREDICTOR | {"monitoring": {"serviceMonitor": {"enabled": True}}}, "let Prometheus find its pods"),
        (EMBEDDED | {"application": APPLICATION}, "set shape: sidecar"),
        (EMBEDDED | {"backend": {"upstreams": ["a:1"]}}, "set backend.kind: upstream"),
        (UPSTREAM | {"models": {"path": "a"}}, "models.path"),
        (UPSTREAM | OF_CERTIFICATE, "config.operators.bindings[0] is for a certificate"),
        (UPSTREAM | ADMIN | bound({"user": "ada"}), "config.operators.bindings[0] is for a user or group"),
        (UPSTREAM | {"config": {"access": {"certificates": True}}}, "set tls.clientCA"),
        (UPSTREAM | {"networkPolicy": {"enabled": False, "clients": PODS}}, "networkPolicy.enabled is false"),
        (UPSTREAM | ADMIN | {"networkPolicy": {"enabled": False, "operators": PODS}}, "networkPolicy.enabled is false"),
        (UPSTREAM | {"networkPolicy": {"operators": PODS}}, "set admin.secretName"),
        (BESIDE | {"networkPolicy": {"clients": PODS}}, "networkPolicy.clients: beside an application"),
        (PREDICTOR | {"networkPolicy": {"monitoring": PODS}}, "networkPolicy.monitoring: beside an application"),
        (BESIDE | {"networkPolicy": {"egress": [{"to": PODS}]}}, "networkPolicy.egress: beside an application"),
        (BESIDE | {"service": {"type": "LoadBalancer"}}, "makes no Service for clients"),
        (PREDICTOR | {"service": {"annotations": {"a": "b"}}}, "makes no Service for clients"),
        (UPSTREAM | {"config": {"workers": "auto"}}, "set resources.limits.cpu"),
        (EMBEDDED | IN_POSTGRES | {"workload": "StatefulSet"}, "set state.kind: claim"),
        (
            EMBEDDED | {"workload": "StatefulSet", "config": {"audit": {"postgres": "postgresql://a/b"}}},
            "state.kind: claim",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_told_with_what_to_write(values: dict[str, Any], told: str) -> None:
    with pytest.raises(helm.HelmError, match=re.escape(told)):
        render(values)


@pytest.mark.parametrize(
    "values",
    [
        UPSTREAM | ADMIN | OF_CERTIFICATE,
        UPSTREAM | bound({"user": "ada"}),
        UPSTREAM | {"config": {"workers": "auto"}, "resources": {"limits": {"cpu": 2}}},
        UPSTREAM | {"networkPolicy": {"enabled": False}},
        EMBEDDED | IN_POSTGRES | {"workload": "StatefulSet", "state": {"kind": "claim"}},
        UPSTREAM | IN_POSTGRES,
    ],
)
def test_values_that_fit_together_render(values: dict[str, Any]) -> None:
    assert render(values)


RUNTIME = {"kserve": {"runtime": {"enabled": True}}}


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"valkey": {"url": "redis://:SECRET@valkey:6379/0"}}, "valkey.url"),
        ({"valkey": {"url": "rediss://user:SECRET@valkey"}}, "valkey.url"),
        ({"valkey": {"url": "redis://:SEC/RET@valkey"}}, "valkey.url"),
        ({"postgres": {"url": "postgresql://audit:SECRET@pg/audit"}}, "postgres.url"),
        ({"postgres": {"url": "postgresql://audit@pg/audit?sslmode=require&password=SECRET"}}, "postgres.url"),
        ({"config": {"limits": {"shared": "redis://:SECRET@valkey"}}}, "config.limits.shared"),
        ({"config": {"limits": {"shared": {"url": "redis://:SECRET@valkey"}}}}, "config.limits.shared.url"),
        ({"config": {"fleet": {"url": "postgresql://a:SECRET@pg/a"}}}, "config.fleet.url"),
        (RUNTIME | {"config": {"limits": {"shared": "redis://:SECRET@valkey"}}}, "config.limits.shared"),
        ({"env": [{"name": "MODELWARD__FLEET__URL", "value": "redis://:SECRET@valkey"}]}, "env.0.value"),
    ],
)
def test_a_password_in_a_url_comes_into_no_object_that_is_not_secret(values: dict[str, Any], where: str) -> None:
    with pytest.raises(helm.HelmError) as found:
        render(UPSTREAM | values)
    told = str(found.value)
    assert f"{where}: the URL holds a password" in told
    assert "valkey.secretName and valkey.urlKey" in told
    assert not {"SECRET", "SEC/RET"} & {*re.findall("SEC/?RET", told)}


@pytest.mark.parametrize(
    "url",
    ["redis://valkey:6379/0", "rediss://user@valkey:6379", "redis://[fd00::1]:6379", "unix:///run/valkey.sock?db=0"],
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    assert configuration(render(UPSTREAM | {"valkey": {"url": url}}))["limits"]["shared"]["url"] == url


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"shap": "gateway"}, "shap"),
        ({"terminationGracePeriodSeconds": 10}, "terminationGracePeriodSeconds"),
        ({"config": {"listen": {"grpc": "0.0.0.0:1"}}}, "listen"),
        ({"config": {"models": {"fraud": {"deadlin": "5ms"}}}}, "deadlin"),
        ({"config": {"limits": {"total": {"rate": "many"}}}}, "rate"),
        ({"application": {"name": "modelward", "image": "a"}}, "application"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "podLabels"),
        ({"podLabels": {"app.kubernetes.io/instance": "other"}}, "podLabels"),
        ({"podLabels": {"app.kubernetes.io/component": "other"}}, "podLabels"),
        ({"podAnnotations": {"modelward/restart": "never"}}, "podAnnotations"),
    ],
)
def test_values_that_the_schema_does_not_have_are_refused(values: dict[str, Any], where: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=where):
        render(UPSTREAM | values)


GUIDE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()


def test_the_commands_and_values_of_the_guide_render() -> None:
    commands = re.findall(r"^\$ (helm install (?:.*\\\n)*.*)$", GUIDE, re.MULTILINE)
    pages = [yaml.safe_load(page) for page in re.findall(r'```yaml title="values.yaml"\n(.*?)```', GUIDE, re.DOTALL)]
    assert len(commands) >= 5 and len(pages) >= 1
    rendered = 0
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        given = [word for option, word in pairwise(words) if option == "--set"]
        rendered += bool(given)
        assert not given or render(helm.parse_set_string(",".join(given)))
    assert rendered >= 4
    assert all(render(page) for page in pages)


def test_the_values_of_the_guide_are_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    table = GUIDE.partition("## Values that matter")[2].partition("For example")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)]
    assert len(named) > 10
    section = values
    for name in named:
        first, *keys = name.split(".")
        section = values[first] if first else section
        assert not keys or reaches(section, keys) or any(reaches(each, keys) for each in section.values()), name


def reaches(section: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(section, dict) or key not in section:
            return False
        section = section[key]
    return True


def test_the_schema_of_the_configuration_is_that_of_the_server() -> None:
    text = values_schema.FILE.read_text()
    assert text == values_schema.with_config(text), "run `make docs` and commit what it writes"
    assert {*OF_MODELS, *OF_RULES, *FIXED} - {*yaml.safe_load(text)["properties"]["config"]["properties"]} == {
        *values_schema.OWNED
    }


def test_the_values_of_the_chart_are_those_of_its_schema() -> None:
    def keys(values: Any, schema: Any, path: str = "") -> Iterator[str]:
        taken = {key: each for key, each in schema.get("properties", {}).items() if each is not False}
        for key, each in taken.items():
            if key in values:
                yield from keys(values[key], each, f"{path}{key}.") if path + key != "config" else ()
            else:
                yield path + key

    schema = yaml.safe_load(values_schema.FILE.read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {*keys(values, schema)} == {"global", "certManager.issuerRef.name", "certManager.issuerRef.kind"} | {
        "certManager.issuerRef.group"
    }
