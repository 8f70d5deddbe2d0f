"""Every place that names the release names the one of pyproject.toml, so that old and new can be told apart."""

from __future__ import annotations

import re
import subprocess

import yaml

from scripts.docs import ROOT
from tests.deploy.release import RELEASE

BEFORE = (r"\bmodelward[:-]", "name: modelward, .*newTag: ", "VERSION=", r"app\.kubernetes\.io/version: ",
          "^version: ", "^appVersion: ")  # fmt: skip
NAMED = re.compile(rf"(?:{'|'.join(BEFORE)})(\d+\.\d+\.\d+)\b", re.MULTILINE)


def named() -> dict[str, set[str]]:
    """By file of `deploy` and the how-to pages the releases that it names."""
    listed = subprocess.run(
        ["git", "ls-files", "deploy", "docs/how-to"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = [ROOT / name for name in listed if (ROOT / name).is_file()]
    texts = {str(file.relative_to(ROOT)): file.read_text(errors="ignore") for file in files}
    return {name: found for name, text in texts.items() if (found := {*NAMED.findall(text)})}


def test_charts_images_and_pages_name_one_release() -> None:
    found = named()
    assert {name: releases for name, releases in found.items() if releases != {RELEASE}} == {}
    assert {"deploy/Dockerfile", "deploy/helm/modelward/Chart.yaml", "docs/how-to/install.md"} <= found.keys()
    assert sum(name.startswith("deploy/kustomize/overlays/") for name in found) == 6


def test_the_chart_has_the_version_of_what_it_installs() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/modelward/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (RELEASE, RELEASE)


def test_the_first_changes_that_are_told_are_those_of_the_release() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None and heading[1].rstrip(",") == RELEASE
