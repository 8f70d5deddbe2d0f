"""What the admin API can ask of the server it belongs to, and how that answers: plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from modelward.audit.action import NotDone
from modelward.audit.record import Actor
from modelward.audit.recorder import Recorder
from modelward.config.address import Address
from modelward.config.approvals import ApprovedVerb
from modelward.detect.progress import Progress
from modelward.detect.restriction import Restriction
from modelward.detect.suspects import Suspects
from modelward.limits.callers import Callers
from modelward.limits.temporary import Kind, TemporaryLimit
from modelward.problem import Problem
from modelward.promotion.asked import Wanted
from modelward.promotion.judge import Known
from modelward.promotion.state import Event
from modelward.server.containment import Contained
from modelward.server.report import Report
from modelward.telemetry.snapshot import Snapshot
from modelward.upstream.breaker_override import BreakerOrder, BreakerOverride

if TYPE_CHECKING:  # loaded where something needs an approval
    from modelward.approvals.desk import Desk
    from modelward.approvals.proposal import Ask, Proposal


class WorkerStatus(Struct, frozen=True):
    """One worker's process at this moment. number: as the log calls it."""

    number: int
    pid: int
    state: str
    age_seconds: float
    connections: int
    inflight: int


class PromotionStatus(Struct, frozen=True):
    """The last promotion of a model. warnings: what is to be said of what was asked for. unsaved: it is not on disk
    yet."""

    model: str
    known: Known
    warnings: tuple[Problem, ...] = ()
    unsaved: bool = False


class ReloadRecord(Struct, frozen=True):
    """What has become of a reload. at: seconds since 1970. by: who asked for it. changed: in words."""

    at: float
    by: str
    changed: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class Status(Struct, frozen=True):
    """limits_store: in words, where what is owed to limits is kept. report: of the models, None before a worker was
    ready. stats: what workers count outside of shared memory, and budgets of outputs. weights: shares by model
    and version; the newest version of a model that is not there has all. failing: workers in which a version
    fails its canary, by model and version. contained: inputs that are not run any more. policies: version_policy of the
    models that it decides about. events: the last, the newest last. unsaved: what was done last is not on disk yet.
    refused_reload: where the last one was. config: digest of the configuration that is followed. audit: in words, where
    what is done is recorded. changed_files: why the files of a version are others than those that are served. waiting:
    of each proposal that waits for approvals the model; empty for what concerns the whole server. operators, approvals,
    configuration: in words, what is configured, and what of the files waits. needs_restart: keys that the configuration
    has otherwise, and that only a restart of the server changes. acting_as_promoted: models whose version_policy is
    newest, and where approvals keep new versions waiting. learning: of the models that watch identities. fleet: in
    words, the one that the server belongs to.
    """

    state: str
    uptime_seconds: float
    generation: int
    grpc: Address
    http: Address
    limits_store: str
    workers: Sequence[WorkerStatus]
    report: Report | None
    stats: Snapshot
    weights: Mapping[str, Mapping[str, int]]
    promotions: Sequence[PromotionStatus] = ()
    failing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    contained: Sequence[Contained] = ()
    callers: Mapping[int, str] = field(default_factory=dict)  # names of known ones, for `contained`
    policies: Mapping[str, str] = field(default_factory=dict)
    acting_as_promoted: frozenset[str] = frozenset()
    events: Sequence[Event] = ()
    unsaved: bool = False
    refused_reload: ReloadRecord | None = None
    config: str = ""
    audit: str = ""
    changed_files: Mapping[tuple[str, str], str] = field(default_factory=dict)
    temporary_limits: Sequence[TemporaryLimit] = ()
    breakers: Sequence[BreakerOverride] = ()
    waiting: Sequence[str] = ()
    operators: str = ""
    approvals: str = ""
    configuration: str = ""
    needs_restart: Sequence[str] = ()
    learning: Sequence[Progress] = ()
    fleet: str = ""


class FleetModel(Struct, frozen=True):
    """A promoted model as a server of the fleet has it: see protos/admin.proto."""

    model: str
    version: str
    step: str
    epoch: int = 0
    held: str = ""
    requests: int = 0
    all_requests: int = 0


class FleetServer(Struct, frozen=True):
    """What a server of the fleet says of itself; problem: why that cannot be read. name_taken: by another server too.
    Times in seconds."""

    replica: str
    age: float
    leads: bool = False
    release: str = ""
    state: str = ""
    uptime: float = 0.0
    lost: int = 0
    models: Sequence[FleetModel] = ()
    more: int = 0
    problem: str = ""
    name_taken: bool = False


class FleetView(Protocol):
    async def servers(self) -> Sequence[FleetServer]:
        """Of this server's fleet; nothing where it is alone. Raises ProblemsFound where the store does not answer."""


class OperationResult(Struct, frozen=True):
    """Of a reload or a restart. problems: what was not done, and why; changed: what was, in words. last_change: the
    reload before it that changed something, where this one did not. proposal: of what waits for others, or was done
    without them. rights: settings that decide rights and were changed, with the values before and after."""

    problems: tuple[Problem, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    last_change: ReloadRecord | None = None
    proposal: Proposal | None = None
    rights: tuple[str, ...] = ()


class Replaced(Struct, frozen=True):
    """A worker takes the place of another. before: that one's process id, 0 where it had died."""

    number: int
    pid: int
    before: int


class Draining(Struct, frozen=True):
    """What is left to do when a drain begins. delay, timeout: seconds."""

    inflight: int
    connections: int
    delay: float
    timeout: float

    def __str__(self) -> str:
        later = f"for {self.delay:g} s new connections are still taken, then " if self.delay else ""
        return f"{later}{self.inflight} requests on {self.connections} connections have {self.timeout:g} s to finish"


class NotNow(NotDone):
    """The server is starting, draining or restarting; the message says which, and what to do."""


class WatchedDrift(Protocol):
    """Both raise ProblemsFound."""

    async def report(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What modelward.drift.report tells of each version of the model, or of all."""

    async def accept(self, model: str, version: str, actor: str = "", pinned: str = "") -> Sequence[tuple[str, str]]:
        """Takes the present of a version as usual, and tells of which. version: empty for all. pinned: the alarms that
        are meant, as `pinned` told them."""

    def pinned(self, model: str, version: str) -> str:
        """The alarms that stand now, as a digest."""


class Proposed(Protocol):
    """What is asked for and needs the approval of others. All but `needed` raise ProblemsFound."""

    @property
    def desk(self) -> Desk: ...

    def needed(self, verb: ApprovedVerb, model: str = "") -> int:
        """How many others must agree."""

    async def promotion(self, wanted: Wanted) -> Ask:
        """What is proposed. Refused where the promotion would be."""

    def rollback(self, model: str, reason: str) -> Ask:
        """What is proposed: to take back the version that is promoted now."""

    def pardon(self, model: str, version: str, reason: str) -> Ask:
        """What is proposed. version: empty for all of the model."""

    def breaker(self, order: BreakerOrder) -> Ask:
        """What is proposed."""

    def accept(self, model: str, version: str, reason: str) -> Ask:
        """What is proposed. version: empty for all of the model. Refused where no alarm stands."""

    def restart(self, reason: str) -> Ask:
        """What is proposed."""

    async def claimed(self, proposal: Proposal, by: Actor, reason: str) -> Proposal:
        """The proposal of a configuration that waits, as this operator's where it is no other's yet."""


class TemporaryLimits(Protocol):
    """Limits that hold for a time. Both raise ProblemsFound, NotNow."""

    async def set(self, limit: TemporaryLimit) -> None: ...

    async def unset(self, kind: Kind, name: str) -> None: ...


class BreakerOverrides(Protocol):
    """Breakers that are held open or closed for a time."""

    def of(self, model: str) -> Sequence[BreakerOverride]:
        """Those that hold now."""

    def check(self, order: BreakerOrder) -> None:
        """Raises ProblemsFound where it cannot be obeyed, NotNow."""

    async def obey(self, order: BreakerOrder, actor: str = "") -> Sequence[BreakerOverride]:
        """What holds for the model then. Raises ProblemsFound, and then nothing has changed; NotNow."""


class Restrictions(Protocol):
    """Identities that operators hold at a step. All but `of`, `watched` and `doubts` raise ProblemsFound, and then
    nothing has changed; all but `of` raise NotNow."""

    def of(self, identity: str) -> Sequence[Restriction]:
        """Those that hold now."""

    def restrict(self, restriction: Restriction) -> Sequence[Restriction]:
        """What holds for the identity then."""

    def watched(self) -> Sequence[str]:
        """Models that watch identities. Raises NotNow."""

    def doubts(self, identity: str, model: str) -> Sequence[Problem]:
        """Why the name may be a slip, before it is restricted. Raises NotNow."""

    def pardon_all(self, model: str, by: str = "", reason: str = "") -> int:
        """How many identities were at a step. model: empty for all."""

    def pardon(self, identity: str, model: str, by: str = "", reason: str = "") -> int:
        """How many records of it were forgotten. model: empty for all."""


class Operator(Protocol):
    """Called on the loop of the admin API. All but `status` and `callers` raise NotNow, the last three ProblemsFound as
    well; a reload goes on if its caller is cancelled, and a second restart at a time is not now. actor: who asks
    (modelward.admin.actor)."""

    @property
    def trail(self) -> Recorder:
        """Where it is recorded what is asked: see modelward.admin.recorded."""

    @property
    def proposals(self) -> Proposed: ...

    @property
    def needs_restart(self) -> Sequence[str]:
        """As Status."""

    @property
    def temporary_limits(self) -> TemporaryLimits: ...

    @property
    def breakers(self) -> BreakerOverrides: ...

    @property
    def restrictions(self) -> Restrictions: ...

    @property
    def drift(self) -> WatchedDrift: ...

    @property
    def fleet(self) -> FleetView: ...

    def suspects(self, least: str, most: int, model: str = "") -> Suspects:
        """Identities whose step is at least this, the most suspicious first. model: empty for all."""

    def status(self) -> Status: ...

    def callers(self, count: int) -> Callers: ...

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        """rights: whether the one who asks may change who may do what (modelward.config.changes.OF_RIGHTS)."""

    async def restart(self, replaced: Callable[[Replaced], None], actor: str = "") -> OperationResult: ...

    async def ask_to_drain(self, actor: str = "") -> Draining:
        """Ends the server as SIGTERM does. Returns when that has begun."""

    async def promote(self, wanted: Wanted) -> PromotionStatus: ...

    async def rollback(self, model: str, why: str = "", actor: str = "", proposal: int = 0) -> PromotionStatus: ...

    async def pardon(self, model: str, version: str | None, actor: str = "") -> Sequence[tuple[str, str]]:
        """Versions, of all where None, that are run again with inputs that a worker died of; those that were not."""

    def capture_folder(self, model: str) -> Path | None:
        """Where its captured requests lie; None where they are not captured."""

    def observed(self, texts: Sequence[str]) -> Mapping[str, str]:
        """modelward.limits.callers.observed, of all that the server knows."""

    async def shadows(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What modelward.shadow.report tells of each."""
