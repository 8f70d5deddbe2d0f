"""What operators are told where a reload changes what is captured."""

from pathlib import Path
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.supervisor.observing import Observing


def test_that_retention_ends_with_capture_is_told_once_with_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nothing: Any = None
    running: Any = object()  # the writer
    both, one = ({name: {"capture": {"folder": str(tmp_path / name)}} for name in names} for names in ("mn", "n"))
    configs = [Config.model_validate({"models": models}) for models in (both, both, one, one)]
    observing = Observing(lambda: configs[0], nothing)
    observing._capture = running
    while configs:
        observing.follow(nothing)
        del configs[0]
    (line,) = caplog.messages
    assert "model m are not captured any more; retention ends too" in line
    assert line.endswith(str(tmp_path / "m"))
