"""Names and texts of all metrics, as promtool judges them: of a page with every metric, and of a running server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelward.telemetry.exposition import Exposition
from scripts.docs.metrics import complete
from tests import models
from tests.deploy.prometheus.promtool import needs_prometheus, promtool
from tests.e2e.messages import Stub, refused, request
from tests.support import serve_process

# Triton's names, which its dashboards and autoscalers ask for
TRITONS = {
    *(
        f"nv_inference_{what}_duration_us metric names should not contain abbreviated units"
        for what in ("request", "queue", "compute_input", "compute_infer", "compute_output")
    ),
    'nv_inference_pending_request_count non-histogram and non-summary metrics should not have "_count" suffix',
}


@needs_prometheus
def test_promtool_finds_fault_with_no_name_but_tritons() -> None:
    _, said = promtool("check", "metrics", given=Exposition(complete).text().decode())
    assert {*said.splitlines()} == TRITONS


@needs_prometheus
def test_promtool_reads_the_page_of_a_running_server(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one(), "broken": b"no model"})
    with serve_process(root, "--set", "workers=2", "--set", f"state={tmp_path / 'state'}") as server:
        with Stub(server.grpc) as stub:
            stub.infer(request("add", {"x": np.ones((1, 4), np.float32)}))
            assert refused(stub, request("add", {"x": np.ones((1, 5), np.float32)})).reason == "INVALID_INPUT"
        _, said = promtool("check", "metrics", given=server.page("/metrics")[1])
    assert {*said.splitlines()} == TRITONS


@needs_prometheus
def test_a_name_that_is_wrong_is_found() -> None:
    _, said = promtool("check", "metrics", given="# TYPE modelward_wrong counter\nmodelward_wrong 1\n")
    assert {*said.splitlines()} == {
        'modelward_wrong counter metrics should have "_total" suffix',
        "modelward_wrong no help text",
    }
