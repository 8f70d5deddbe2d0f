"""Copies of the state as the page on Kubernetes has them: its commands, run here, and the pod that puts one back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from scripts.docs import ROOT

PAGE = (ROOT / "docs/how-to/kubernetes.md").read_text()
OUT, BACK = re.findall(r"'(import sys, tarfile; [^']*)'", PAGE)


def run(program: str, folder: Path, given: bytes = b"") -> bytes:
    """folder: in the place of /var/lib."""
    words = [sys.executable, "-c", program.replace("/var/lib", str(folder))]
    return subprocess.run(words, input=given, capture_output=True, timeout=60, check=True).stdout


def test_a_copy_is_taken_and_put_back_but_for_the_audit_log(tmp_path: Path) -> None:
    then, now = tmp_path / "then", tmp_path / "now"
    for folder, word in ((then, "old"), (now, "new")):
        (folder / "modelward/audit/log").mkdir(parents=True)
        for name in ("promotions.json", "audit/key", "audit/log/1", "audit/last"):
            (folder / "modelward" / name).write_text(word)
    (then / "modelward/sticky.key").write_text("old")
    (then / "modelward/sticky.key").chmod(0o600)
    run(BACK, now, run(OUT, then))
    found = {str(file.relative_to(now)): file.read_text() for file in now.rglob("*") if file.is_file()}
    assert found == {
        "modelward/promotions.json": "old",
        "modelward/sticky.key": "old",
        "modelward/audit/key": "old",
        "modelward/audit/log/1": "new",
        "modelward/audit/last": "new",
    }
    assert (now / "modelward/sticky.key").stat().st_mode & 0o777 == 0o600


def pod() -> dict[str, Any]:
    text = re.search(r'```yaml title="restore.yaml"\n(.*?)```', PAGE, re.DOTALL)
    assert text is not None
    found: dict[str, Any] = yaml.safe_load(text[1])
    return found


def test_the_pod_that_puts_it_back_is_valid_restricted_and_has_the_claim_of_the_chart() -> None:
    from tests.deploy.kubernetes import NEWEST, OLDEST, faults  # noqa: PLC0415 - skips where it is not installed
    from tests.deploy.policy import violations  # noqa: PLC0415

    assert [fault for version in (OLDEST, NEWEST) for fault in faults(pod(), version)] == []
    assert violations(pod()["spec"]) == []
    (volume,) = pod()["spec"]["volumes"]
    template = (ROOT / "deploy/helm/modelward/templates/workload.yaml").read_text()
    (claim,) = re.findall(r"volumeClaimTemplates:\n    - metadata:\n        name: (\S+)", template)
    assert volume["persistentVolumeClaim"]["claimName"] == f"{claim}-guard-modelward-0"
