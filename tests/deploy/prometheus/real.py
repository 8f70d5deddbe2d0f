"""A real Prometheus that scrapes real servers: rules and queries are tried on what these expose."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.deploy.prometheus.promtool import PROMETHEUS
from tests.support import wait_until

MILLISECONDS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SCRAPED_EACH = "500ms"


def shortened(rules: str, factor: float, longest: str) -> str:
    """The rules with every range, and every time that a cause must last, divided by `factor`. longest: such a time."""

    def shorter(found: re.Match[str]) -> str:
        return f"{round(milliseconds(found[0]) / factor)}ms"

    read = yaml.safe_load(rules)
    for rule in (rule for group in read["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"(?<=\[)\d+[smhd](?=\])", shorter, rule["expr"])
        if "for" in rule:
            lasts = min(milliseconds(rule["for"]) / factor, milliseconds(longest))
            rule["for"] = f"{round(lasts)}ms"
    return yaml.safe_dump(read, width=1000)


def milliseconds(text: str) -> int:
    """Of a time with one unit, as the rules have it."""
    return int(text[:-1]) * MILLISECONDS[text[-1]]


class Variant(NamedTuple):
    """What tells rules of one alert apart."""

    alert: str
    severity: str
    window: str = ""


def variant(alert: str, labels: Mapping[str, str]) -> Variant:
    return Variant(alert, labels["severity"], labels.get("window", ""))


@dataclass(frozen=True)
class Alert:
    """One that fires. texts: its annotations, filled in."""

    name: str
    labels: Mapping[str, str]
    texts: Mapping[str, str]

    @property
    def variant(self) -> Variant:
        return variant(self.name, self.labels)


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it has not read its files yet
                raise
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[Any]:
        """What it gives at this moment: a value for each set of labels."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def firing(self) -> list[Alert]:
        return [
            Alert(each["labels"]["alertname"], each["labels"], each["annotations"])
            for each in self.ask("alerts")["alerts"]
            if each["state"] == "firing"
        ]

    def health(self) -> dict[str, str]:
        """By target: up, down, or unknown before it was scraped."""
        return {each["labels"]["instance"]: each["health"] for each in self.ask("targets")["activeTargets"]}

    def broken_rules(self) -> list[str]:
        """Rules that could not be evaluated."""
        groups = self.ask("rules")["groups"]
        return [
            f"{rule['name']}: {rule['lastError']}"
            for group in groups
            for rule in group["rules"]
            if rule.get("lastError")
        ]


@contextlib.contextmanager
def scraping(
    folder: Path, jobs: Mapping[str, list[str]], rules: str, *, each: str = SCRAPED_EACH
) -> Iterator[Prometheus]:
    """jobs: addresses of servers by the name of their job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(rules)
    config = {
        "global": {"scrape_interval": each, "scrape_timeout": each, "evaluation_interval": each},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = _free_address()
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield _ready(Prometheus(address), process, folder / "log")
        finally:
            process.kill()


def _ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> Prometheus:
    def scraped() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return {*prometheus.health().values()} == {"up"}
        return False

    wait_until(scraped, "a scrape of every server")
    return prometheus


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
