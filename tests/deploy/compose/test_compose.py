"""deploy/compose.yaml, as Docker Compose reads it: valid, closed to other machines, with each file that it mounts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward.config.load import load
from scripts.dashboards.boards import BOARDS
from scripts.docs import ROOT
from tests.deploy.prometheus.promtool import needs_prometheus, promtool

DEPLOY = ROOT / "deploy"
UNPACKED = ROOT / ".cache" / "compose" / "usr" / "libexec" / "docker" / "cli-plugins"
COMPOSE = shutil.which("docker-compose", path=UNPACKED) or shutil.which("docker-compose")
PROFILES = ("triton", "mlserver")

needs_compose = pytest.mark.skipif(COMPOSE is None, reason="Docker Compose is not installed (scripts/peers compose)")


def read(file: Path, *profiles: str) -> subprocess.CompletedProcess[str]:
    words = [word for profile in profiles for word in ("--profile", profile)]
    command = [str(COMPOSE), "-f", str(file), *words, "config", "--format", "json"]
    plain = {name: value for name, value in os.environ.items() if name != "MODELS"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    ended = read(DEPLOY / "compose.yaml", *PROFILES)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "no warning of a variable that is not set"
    found: dict[str, Any] = json.loads(ended.stdout)["services"]
    return found


def mounts(service: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Files and folders of this machine, and where a container has them."""
    for volume in service.get("volumes", ()):
        if volume["type"] == "bind":
            yield Path(volume["source"]), volume["target"]


@needs_compose
def test_compose_refuses_a_key_that_does_not_exist(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {a: {image: b, bogus: 1}}")
    assert "bogus is not allowed" in read(wrong).stderr


@needs_compose
@pytest.mark.parametrize("profile", PROFILES)
def test_one_model_server_runs_and_modelward_finds_it(services: dict[str, Any], profile: str) -> None:
    chosen = json.loads(read(DEPLOY / "compose.yaml", profile).stdout)["services"]
    assert set(chosen) == {"modelward", profile, "prometheus", "grafana"}
    assert services[profile]["networks"]["default"]["aliases"] == ["models"]
    upstreams = load(DEPLOY / "compose" / "modelward" / "modelward.yaml", [], {}).upstreams
    assert [str(each) for each in upstreams] == ["models:8001"]


@needs_compose
def test_no_other_machine_can_reach_it(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 4
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


@needs_compose
def test_what_clients_and_browsers_reach_has_no_rights_that_it_does_not_need(services: dict[str, Any]) -> None:
    for name in ("modelward", "prometheus", "grafana"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    assert services["modelward"]["read_only"] and services["prometheus"]["read_only"]


@needs_compose
def test_images_of_others_have_a_version(services: dict[str, Any]) -> None:
    for name in {*services} - {"modelward"}:
        _, _, tag = services[name]["image"].rpartition(":")
        assert tag[:1] in "v0123456789" and tag != "latest"


@needs_compose
def test_each_file_that_is_mounted_is_there_and_no_container_can_write_it(services: dict[str, Any]) -> None:
    for name in ("modelward", "prometheus", "grafana"):
        assert [*mounts(services[name])]
        assert [source for source, _ in mounts(services[name]) if not source.exists()] == []
    bound = [volume for service in services.values() for volume in service["volumes"] if volume["type"] == "bind"]
    assert all(volume["read_only"] for volume in bound)


@needs_compose
@needs_prometheus
def test_prometheus_scrapes_modelward_by_the_rules(services: dict[str, Any], tmp_path: Path) -> None:
    inside = {target: source for source, target in mounts(services["prometheus"])}
    config = inside["/etc/prometheus/prometheus.yaml"].read_text()
    for target, source in inside.items():
        config = config.replace(target, str(source))
    (tmp_path / "prometheus.yaml").write_text(config)
    code, said = promtool("check", "config", str(tmp_path / "prometheus.yaml"))
    assert code == 0 and "rules found" in said, said
    (job,) = yaml.safe_load(config)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in services
    assert load(DEPLOY / "compose" / "modelward" / "modelward.yaml", [], {}).listen.http.port == int(port)


@needs_compose
def test_grafana_finds_prometheus_and_the_dashboards(services: dict[str, Any]) -> None:
    inside = {target: source for source, target in mounts(services["grafana"])}
    (source,) = yaml.safe_load((DEPLOY / "compose" / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((DEPLOY / "compose" / "grafana" / "dashboards.yaml").read_text())["providers"]
    folder = inside[provider["options"]["path"]]
    assert {file.stem for file in folder.iterdir()} == BOARDS.keys()
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / Path(home).name).exists()
