"""A real server whose audit log is rewritten behind its back: the witness refuses it, and everyone is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from modelward.audit import key
from modelward.audit.files import LogReader
from modelward.audit.verify import verify
from tests.e2e.test_admin import modelward
from tests.e2e.test_audit import arguments
from tests.support import serve_process, wait_until

SEEN = "modelward_audit_witnessed"
FAILURES = "modelward_audit_witness_failures_total"


def test_a_log_that_was_rewritten_is_refused_by_its_witness_and_everyone_is_told(tmp_path: Path) -> None:
    audit, volume = tmp_path / "audit", tmp_path / "volume"
    settings = (f'audit.witnesses=[{{"folder": "{volume}"}}]', "audit.retention.days=400")
    with serve_process(*arguments(tmp_path, audit, *settings)) as server:
        assert modelward("reload", "--admin", server.admin).returncode == 0
        size = server.metric("modelward_audit_size")
        assert size >= 3
        wait_until(lambda: server.metric(SEEN, witness=str(volume)) >= size, "the witness to see the log")
        assert f"witnessed by {volume}" in modelward("status", "--admin", server.admin).stdout.replace("\n", "")
        assert server.metric(FAILURES) == 0
        assert server.terminate() == 0
    shutil.rmtree(audit / "log")  # and its owner, who has the key, begins another one
    (audit / "last").unlink()
    with serve_process(*arguments(tmp_path, audit, *settings)) as server:
        wait_until(lambda: server.metric(FAILURES, why="refused"), "the witness to refuse the log")
        told = modelward("status", "--admin", server.admin).stdout
        assert "REFUSES the log" in told
        reader = LogReader(audit / "log")

        def recorded() -> list[str]:
            found = verify(reader, key.public_key(audit))
            return [json.loads(each)["verb"] for each in reader.records(0, found.records)]

        wait_until(lambda: "witness.refused" in recorded(), "the refusal to be recorded")
        assert server.terminate() == 0
