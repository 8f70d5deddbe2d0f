"""Dashboards as Kubernetes gets them: one ConfigMap each, with the label that the sidecar of Grafana looks for."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from scripts.dashboards.boards import BOARDS, FOLDER
from tests.deploy.chart import CHART, MATRIX, UPSTREAM, helm, render
from tests.deploy.kubernetes import NEWEST, OLDEST, faults
from tests.deploy.test_kustomize import objects, with_components

ON = {"monitoring": {"dashboards": {"enabled": True}}}
FILES = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
ANNOTATION_BYTES = 262_144
"""All annotations of an object may have so many; `kubectl apply` puts the whole object into one."""


def boards(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in items if item["kind"] == "ConfigMap" and "modelward.yaml" not in item["data"]]


@pytest.mark.parametrize("name", ["gateway watched and scaled by HPA", "sidecar of a predictor"])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_each_dashboard_is_a_map_of_its_own_which_the_sidecar_finds(name: str, version: str) -> None:
    assert boards(render(MATRIX[name], version)) == [], "only where it is asked for"
    maps = boards(render(MATRIX[name] | ON, version))
    assert {file: text for each in maps for file, text in each["data"].items()} == FILES
    assert len(maps) == len({each["metadata"]["name"] for each in maps}) == len(FILES) == len(BOARDS)
    assert [fault for each in maps for fault in faults(each, version)] == []
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(json.dumps(each))) < ANNOTATION_BYTES
        assert [json.loads(text)["uid"] for text in each["data"].values()] == [
            file.removesuffix(".json") for file in each["data"]
        ]


def test_a_sidecar_with_a_label_a_folder_and_a_namespace_of_its_own_finds_them() -> None:
    own = {"labels": {"grafana_dashboard": None, "board": "yes"}, "annotations": {"grafana_folder": "Models"}}
    values = {"monitoring": {"dashboards": {"enabled": True, "namespace": "watching"} | own}}
    for each in boards(render(UPSTREAM | values)):
        metadata = each["metadata"]
        assert (metadata["namespace"], metadata["annotations"]) == ("watching", {"grafana_folder": "Models"})
        assert metadata["labels"]["board"] == "yes"
        assert "grafana_dashboard" not in metadata["labels"]


def test_the_packaged_chart_holds_them(tmp_path: Path) -> None:
    with tarfile.open(helm.package(CHART, destination=tmp_path)) as package:
        for name, text in FILES.items():
            packed = package.extractfile(f"modelward/files/dashboards/{name}")
            assert packed is not None and packed.read().decode() == text
    packaged = helm.Chart.load(next(tmp_path.glob("*.tgz")))
    pages = packaged.render(UPSTREAM | ON, name="demo", namespace="models")
    assert sum("grafana_dashboard" in text for text in pages.values()) == 1


def test_kustomize_makes_the_same(tmp_path: Path) -> None:
    maps = boards(objects(with_components(str(tmp_path), "gateway-upstream", "dashboards")))
    assert {file: text for each in maps for file, text in each["data"].items()} == FILES
    assert {(each["metadata"]["namespace"], each["metadata"]["labels"]["grafana_dashboard"]) for each in maps} == {
        ("risk", "1")
    }
