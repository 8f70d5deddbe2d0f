"""Dashboards as Grafana imports them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from scripts.dashboards.boards import BOARDS, FOLDER
from scripts.dashboards.grafana import written
from tests.deploy.prometheus.test_rules import EVERY, labels_by_name

RECORDED = {rule["record"] for rule in EVERY if "record" in rule}
ELSEWHERE = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", BOARDS)
def test_the_file_is_what_make_dashboards_writes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == written(BOARDS[name]), "run `make dashboards`"


def test_there_is_no_other_file() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == BOARDS.keys()


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_a_uid_and_asks_which_prometheus(name: str) -> None:
    shown = read(name)
    assert shown["uid"] == name
    variables = {each["name"]: each for each in shown["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and {"job", "instance"} <= variables.keys()
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(shown["panels"])))
    assert used <= {*variables, "__rate_interval"}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = read(name)["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    taken = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24


@pytest.mark.parametrize("name", BOARDS)
def test_a_panel_says_what_it_answers_and_asks_for_metrics_that_are_exposed(name: str) -> None:
    shown = labels_by_name()
    for panel in (each for each in read(name)["panels"] if each["type"] != "row"):
        assert panel["title"] and panel["description"].endswith((".", "?"))
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            asked = set(re.findall(r"([a-zA-Z_:][\w:]*)\{", target["expr"]))
            assert asked and asked <= shown.keys() | RECORDED | ELSEWHERE, target["expr"]
