import asyncio

from native.h2 import Connection, Listener
from native.pool import Endpoint

class Upstream(Connection):
    def __init__(self, listener: Listener, endpoint: Endpoint) -> None: ...
    @property
    def endpoint(self) -> Endpoint: ...

class BufferedUpstream(Upstream, asyncio.BufferedProtocol): ...
