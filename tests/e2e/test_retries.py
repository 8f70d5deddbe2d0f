"""Retries are earned by each caller's own requests."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc
import numpy as np

from tests.e2e.messages import REQUEST, Stub, request
from tests.e2e.test_relay import in_front, listening
from tests.e2e.test_undecoded import Plain, echo

ROW = np.ones((1, 4), np.float32)


def code(stub: Stub, caller: int, version: str = "") -> grpc.StatusCode:
    with contextlib.suppress(grpc.RpcError):
        metadata = [("x-forwarded-for", f"10.0.0.{caller}")]
        message = request("plain", {"x": ROW}, version=version)
        call = stub.infer_call.future(message, timeout=10, metadata=metadata)
        call.exception()
        found: grpc.StatusCode = call.code()
        return found
    raise AssertionError


def test_requests_that_fail_everywhere_take_no_retries_from_other_callers() -> None:
    broken, calls = [False], [0, 0]

    def server(number: int) -> Plain:
        def infer(message: bytes, context: grpc.ServicerContext) -> bytes:
            unknown = REQUEST.FromString(message).model_version == "99"
            calls[number] += not unknown
            if unknown or (broken[0] and number == 0):
                context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return echo(message)

        return Plain(ModelInfer=infer)

    # as many failures as come open no breaker: what is retried is what is looked at
    settings: dict[str, Any] = {
        "trusted_proxies": '["127.0.0.1"]',
        "breaker": "{consecutive_failures: 0, success_rate: 0}",
    }
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(listening(server(number)))[0] for number in range(2)]
        settings["models__plain__upstreams"] = f"[{', '.join(addresses)}]"
        stub = stack.enter_context(Stub(stack.enter_context(in_front(**settings)).grpc))
        for _ in range(60):
            assert code(stub, 1, "99") is grpc.StatusCode.UNAVAILABLE
        broken[0] = True
        assert [code(stub, 2) for _ in range(12)] == [grpc.StatusCode.OK] * 12
        assert calls[0] > 2, "its first endpoint fails, too"
        assert calls[1] == 12
