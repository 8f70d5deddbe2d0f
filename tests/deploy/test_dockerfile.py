"""The image: who runs it, what it starts, and that its last stage needs no shell."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image"
FILE = ROOT / "deploy" / "Dockerfile"
KNOWN = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL"),
    *("USER", "VOLUME", "WORKDIR"),
}
LABELS = {"title", "description", "licenses", "version", "revision", "created"}

Instructions = list[tuple[str, str]]


def stages() -> list[Instructions]:
    """The instructions of each stage: name and arguments, each on one line."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    found: list[Instructions] = []
    for line in joined:
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def last(name: str) -> str:
    """The arguments of the only such instruction of the image's own stage."""
    (arguments,) = (arguments for each, arguments in stages()[-1] if each == name)
    return arguments


def test_every_instruction_is_one_that_docker_knows() -> None:
    assert {name for stage in stages() for name, _ in stage} <= KNOWN


def test_the_image_begins_with_nothing_and_runs_nothing_while_it_is_built() -> None:
    names = [name for name, _ in stages()[-1]]
    assert stages()[-1][0] == ("FROM", "scratch")
    assert "RUN" not in names


def test_its_user_is_a_number_without_rights() -> None:
    user, group = map(int, last("USER").split(":"))
    assert user == group == 65532
    script = (IMAGE / "root").read_text()
    assert f"\nuser={user}\n" in script


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "VOLUME"])
def test_what_it_starts_needs_no_shell(name: str) -> None:
    assert all(isinstance(part, str) for part in json.loads(last(name)))


def test_the_health_check_is_a_program_of_the_image() -> None:
    _, command = last("HEALTHCHECK").split(" CMD ")
    program, *_, script = json.loads(command)
    made = (IMAGE / "root").read_text()
    assert program == "/opt/modelward/bin/python"
    assert script == "/opt/modelward/bin/health.py"
    assert 'ln -s $python "$root/$home/bin/python"' in made
    assert 'cp deploy/image/health.py "$root/$home/bin/health.py"' in made


def test_it_says_what_it_is() -> None:
    told = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last("LABEL")))
    assert told >= LABELS


def test_models_and_state_are_volumes() -> None:
    assert {"/models", "/var/lib/modelward"} <= set(json.loads(last("VOLUME")))


def test_stages_that_are_copied_from_exist() -> None:
    names = [arguments.split(" AS ")[-1] for stage in stages() for name, arguments in stage if name == "FROM"]
    copied = re.findall(r"^COPY --from=(\S+)", FILE.read_text(), re.M)
    assert copied
    assert set(copied) <= set(names)


@pytest.mark.parametrize("script", ["scripts/wheel", "deploy/image/root"])
def test_what_the_build_runs_is_a_script_of_the_repository(script: str) -> None:
    assert any(name == "RUN" and arguments.split()[0] == script for name, arguments in stages()[0])
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


def test_packages_are_named_once_and_in_order() -> None:
    named = [line for line in (IMAGE / "packages").read_text().splitlines() if not line.startswith("#")]
    assert named == sorted(set(named))
    assert {"python3.13-minimal", "libpython3.13-stdlib", "libstdc++6", "ca-certificates"} <= set(named)
    assert not {"bash", "dash", "apt", "dpkg", "busybox"} & set(named)


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that says this at every path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def health(address: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-I", str(IMAGE / "health.py")], {"MODELWARD__LISTEN__HTTP": address}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_server_that_answers_is_healthy() -> None:
    with answering(200) as address:
        assert health(address).returncode == 0


def test_a_server_that_is_not_well_is_not_healthy() -> None:
    with answering(503) as address:
        told = health(address)
    assert (told.returncode, told.stderr) == (1, f"{address}: /healthz says 503\n")


def test_nothing_at_the_address_is_not_healthy() -> None:
    with answering(200) as address:
        pass
    told = health(address)
    assert told.returncode == 1
    assert told.stderr.startswith(f"{address}: ")
    assert "Traceback" not in told.stderr
