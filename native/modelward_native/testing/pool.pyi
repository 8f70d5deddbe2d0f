"""The endpoints of a model as requests choose and judge them: for tests."""

from modelward_native.backend.pool import Endpoint as EndpointBase
from modelward_native.backend.pool import Pool as PoolBase
from modelward_native.request.served import Served

class Endpoint(EndpointBase):
    def begin(self, now: int) -> bool: ...
    def end(self, trial: bool, good: bool | None, now: int, caller: int = 0, pool: PoolBase | None = None) -> None: ...

class Pool(PoolBase):
    def next(self, now: int, served: Served | None = None) -> EndpointBase | None: ...
