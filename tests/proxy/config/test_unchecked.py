"""Sections in a process that checks none: they hold, write and compare what another process has checked."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from modelward.config import unchecked
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.problem import ProblemsFound

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
ALL_UNITS = """
listen: {grpc: "unix:/run/m.sock", mode: "0660", admin: "[::1]:8003"}
operators:
  tokens: [{issuer: "https://a", audience: [b], jwks: "https://a/keys"}]
  bindings: [{token: "a*", roles: [viewer]}]
admin_tls: {certificate: /c, key: /k}
limits:
  peer: {rate: 7/m, burst: 9, overrides: {"10.0.0.0/8": {time: 250ms/m, burst: 20ms}}}
  identity: {overrides: {"a*": {rate: 5/s, priority: 2-7, by: [key]}, b: {weight: 3, priority: 4}}}
  message_size: 65000
  shared: {url: "redis://:secret@127.0.0.1:1/0"}
access: {keys: /keys, rules: [{identity: "*", models: "*"}]}
access_log: {otlp: "http://127.0.0.1:4318/v1/logs?a=b"}
audit: {postgres: "postgresql://user@127.0.0.1/db?sslmode=disable"}
fleet: {url: "rediss://:secret@127.0.0.1:1/0"}
drain: {delay: 0s}
models:
  m:
    anomaly: {false_positive_rate: 0.00001}
    drift: {false_alarms: 1 in 2000 requests, tolerance: 1.0e-7}
    canary: {interval: "off"}
    outputs: {o: {range: [0, 1.0e+20]}}
"""
IN_ANOTHER_PROCESS = """
import pickle, sys
from modelward.config import unchecked
unchecked.choose()
told = []
for config in pickle.load(sys.stdin.buffer):
    copy = config.model_copy(update={"watch": not config.watch})
    assert copy != config and copy.model_copy(update={"watch": config.watch}) == config
    assert pickle.loads(pickle.dumps(config)) == config
    told.append((config, copy, config.model_dump_json(), config.model_dump(), sorted(config.model_fields_set)))
assert not any(name.startswith("pydantic") for name in sys.modules)
pickle.dump(told, sys.stdout.buffer)
"""


def examples(folder: Path) -> list[Config]:
    """What the documents show, where it is a whole configuration."""
    found = []
    texts = [text for page in sorted(DOCS.rglob("*.md")) for text in EXAMPLE.findall(page.read_text())]
    for index, text in enumerate(texts):
        file = folder / f"{index}.yaml"
        file.write_text(text)
        try:
            found.append(load(file, environ={}))
        except ProblemsFound:
            continue
    return found


def with_all_units(folder: Path) -> Config:
    file = folder / "units.yaml"
    file.write_text(ALL_UNITS)
    return load(file, environ={})


def told_by_another(configs: list[Config]) -> list[tuple[Config, Config, str, dict[str, Any], list[str]]]:
    code = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    done = subprocess.run(code, input=pickle.dumps(configs), check=True, capture_output=True)
    told: list[tuple[Config, Config, str, dict[str, Any], list[str]]] = pickle.loads(done.stdout)
    return told


def test_a_configuration_goes_to_a_process_without_pydantic_and_comes_back_as_it_was(tmp_path: Path) -> None:
    configs = [Config.default(), with_all_units(tmp_path), *examples(tmp_path)]
    assert len(configs) > 20
    for config, told in zip(configs, told_by_another(configs), strict=True):
        same, other, text, values, written = told
        assert same == config
        assert other == config.model_copy(update={"watch": not config.watch})
        assert json.loads(text) == config.model_dump(mode="json")
        assert values == config.model_dump()
        assert written == sorted(config.model_fields_set)


def test_its_secrets_are_not_shown(tmp_path: Path) -> None:
    ((_, _, text, _, _),) = told_by_another([with_all_units(tmp_path)])
    assert "secret" not in text


def test_where_sections_have_been_imported_they_stay_as_they_are() -> None:
    unchecked.choose()
    assert not unchecked.chosen
