import asyncio

from modelward_native.backend.pool import Endpoint
from modelward_native.wire.h2 import Connection, Listener

class Upstream(Connection):
    def __init__(self, listener: Listener, endpoint: Endpoint) -> None: ...
    @property
    def endpoint(self) -> Endpoint: ...

class BufferedUpstream(Upstream, asyncio.BufferedProtocol): ...
