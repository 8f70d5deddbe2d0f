"""Active health checks: an upstream that does not say that it serves is taken out before requests find out."""

import asyncio
import logging
import random

from modelward.config.health import Health
from modelward.config.units import SECOND
from modelward.config.upstream import UpstreamAddress
from modelward.problem import ProblemsFound
from modelward.rpc.protocol import INFERENCE_SERVICE, Code
from modelward.upstream.channel import CallError, Channel, method, open_channel
from modelward_native.backend.pool import Endpoint

log = logging.getLogger("modelward.upstream")

# one lost packet or one long pause is not yet a failed server
FAILURES_OUT = 2
SERVING = 1
# what a server says that does not have the method, or not for the whole server
UNKNOWN = (Code.UNIMPLEMENTED, Code.NOT_FOUND)


class HealthCheck:
    """Owns the task that asks one endpoint again and again; `close` ends it."""

    def __init__(self, address: UpstreamAddress, endpoint: Endpoint, settings: Health) -> None:
        self._name = f"{address.text} ({address.ip})" if address.ip else address.text
        self._address = address
        self._endpoint = endpoint
        self._interval = settings.interval / SECOND
        self._timeout = settings.timeout / SECOND
        self._failures = 0
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            try:
                async with open_channel(self._address) as channel:
                    await self._check(channel)
            except ProblemsFound as found:
                self.judge(str(found))
                await self._rest()

    async def _check(self, channel: Channel) -> None:
        """Until a check fails: the next channel reads the files of upstream_tls again, which may be the reason."""
        failure = ""
        while not failure:
            await self._rest()
            # where there is no connection nothing is sent: that is the connector's matter
            if self._endpoint.connected:
                failure = await self.failure(channel)
                self.judge(failure)

    async def _rest(self) -> None:
        # jittered, so that the checks of many endpoints, or of many of us, do not come in step
        await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))

    async def failure(self, channel: Channel) -> str:
        """Why the upstream does not serve, or "". One that has neither method is taken at its word: it answers."""
        health = method(
            channel,
            "/grpc.health.v1.Health/Check",
            "grpc.health.v1.HealthCheckRequest",
            "grpc.health.v1.HealthCheckResponse",
        )
        ready = method(
            channel,
            f"/{INFERENCE_SERVICE}/ServerReady",
            "inference.ServerReadyRequest",
            "inference.ServerReadyResponse",
        )
        try:
            try:
                serves = (await health(self._timeout)).status == SERVING
            except CallError as error:
                if error.code not in UNKNOWN:
                    raise
                serves = (await ready(self._timeout)).ready
        except CallError as error:
            if error.code in UNKNOWN:
                return ""
            return f"{error.code.name}: {error.details}"
        return "" if serves else "it says that it does not serve"

    def judge(self, failure: str) -> None:
        """Takes one result in; "" is a success. Said once per change."""
        endpoint = self._endpoint
        self._failures = self._failures + 1 if failure else 0
        if not failure and not endpoint.healthy:
            endpoint.healthy = True
            log.info("upstream %s is healthy again", self._name)
        elif self._failures == FAILURES_OUT and endpoint.healthy:
            endpoint.healthy = False
            log.warning("upstream %s is taken out, it fails its health checks: %s", self._name, failure)

    def close(self) -> None:
        self._task.cancel()
