"""What gRPC's core prints by itself: nothing, unless the user wants it."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "given", "found"),
    [
        ("modelward.cli.app", None, "NONE"),
        ("modelward.cli.app", "DEBUG", "DEBUG"),
        ("modelward.server.worker", None, "NONE"),
    ],
)
def test_grpc_is_silent_in_every_process_unless_the_user_says_otherwise(
    module: str, given: str | None, found: str
) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    if given is not None:
        environ["GRPC_VERBOSITY"] = given
    words = [sys.executable, "-c", f"import {module}, os; print(os.environ['GRPC_VERBOSITY'])"]
    assert subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout.strip() == found


def test_a_channel_that_fails_prints_nothing_of_grpcs_own() -> None:
    environ = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    ask = """
import contextlib, grpc
channel = grpc.secure_channel("127.0.0.1:1", grpc.ssl_channel_credentials(b"none"))
with contextlib.suppress(grpc.FutureTimeoutError):
    grpc.channel_ready_future(channel).result(0.5)
"""
    loud = subprocess.run([sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=False)
    assert loud.stderr, "it has something to say"
    words = [sys.executable, "-c", f"import modelward.cli.app\n{ask}"]
    assert subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stderr == ""
