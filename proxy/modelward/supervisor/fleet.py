"""The fleet that a server belongs to, as the supervisor has it. The modules that this takes are loaded where one is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from modelward.admin.operator import FleetModel, FleetServer
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.distribution import release_of
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.promoter import Promoter
from modelward.repository.scan import listed
from modelward.server.readiness import Readiness
from modelward.server.report import Report
from modelward.server.sticky import keep_key, own_key
from modelward.supervisor.breaker_overrides import BreakerOverrides
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.supervisor.temporary_limits import TemporaryLimits
from modelward.tasks import Tasks
from modelward.telemetry.snapshot import FleetSnapshot

if TYPE_CHECKING:
    from modelward.fleet.member import Member
    from modelward.fleet.note import Note
    from modelward.fleet.store import Told


HOW = "Mend what the reason says: the store, fleet.url or fleet.password_file; then ask again"
ALONE = Problem(
    "done on this server alone: the others of the fleet follow when the store is back",
    "fleet",
    how="Ask the others for it too: modelward rollback --admin ADDRESS",
)


class Fleet:
    """Of one server. member: None where it is alone. readiness: of the server."""

    def __init__(self, config: Config, promoter: Promoter, readiness: Readiness) -> None:
        self._config = config
        self._promoter = promoter
        self._readiness = readiness
        self._began = time.monotonic()
        self.member: Member | None = None

    async def start(self, join: Callable[[Member], None]) -> None:
        """Before promotions are resumed. join: what else is shared joins the fleet. Raises ProblemsFound where what
        speaks to the store is not installed."""
        if (settings := self._config.fleet) is None:
            return
        from modelward.fleet.key import KeptKey  # noqa: PLC0415 - only where there is a fleet
        from modelward.fleet.member import Member  # noqa: PLC0415
        from modelward.fleet.opening import open_store  # noqa: PLC0415

        self.member = self._promoter.fleet = Member(
            settings,
            open_store(settings),
            self._promoter,
            note=self._note,
            ready=lambda: self._readiness.ready,
            listed=listed(self._config.repository),
        )
        await self.member.start()
        key = await self.member.key(own_key(self._config))
        keep_key(self._config, key)
        self.member.parts.append(KeptKey(key))
        join(self.member)

    def begin(
        self,
        tasks: Tasks,
        shadowing: ShadowVerdicts,
        limits: TemporaryLimits,
        breakers: BreakerOverrides,
        trail: Callable[[], Recorder],
    ) -> None:
        """Once the server serves. limits, breakers: that operators set, and that all servers of the fleet obey."""
        if self.member is not None:
            from modelward.supervisor.shared_overrides import SharedOverrides  # noqa: PLC0415 - see above

            self.member.parts.append(SharedOverrides(limits, breakers, trail))
            self.member.pairs, shadowing.others = shadowing.pairs, self.member.others
            self.member.serves = True
            tasks.spawn(self.member.run())

    async def stop(self) -> None:
        if self.member is not None:
            await self.member.stop()

    @property
    def words(self) -> str:
        """Empty where the server is alone."""
        return self.member.words if self.member is not None else ""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Of what is done here at once, while the others cannot be told."""
        return (ALONE,) if self.member is not None and (not self.member.up or self.member.unanswered) else ()

    def told(self, report: Report) -> Report:
        return report.with_guard("fleet", self.words) if self.member is not None else report

    async def servers(self) -> list[FleetServer]:
        """As modelward.admin.operator.FleetView."""
        if self.member is None:
            return []
        from modelward.fleet.store import StoreError  # noqa: PLC0415 - see above

        try:
            told = await self.member.notes()
        except StoreError as error:
            what = f"{self.member.settings.where} cannot be reached: {error}"
            raise ProblemsFound([Problem(what, "fleet", how=HOW)]) from error
        return [_server(replica, each, self.member.leader) for replica, each in sorted(told.items())]

    def stats(self) -> FleetSnapshot | None:
        """None where the server is alone."""
        if (member := self.member) is None:
            return None
        held = sum(1 for model in self._promoter.state.promotions if self._promoter.held(model))
        exchanges = {result: member.counts[result] for result in ("ok", "failed")}
        taken = int(member.namesake.is_there)
        return FleetSnapshot(
            int(bool(member.up)), int(member.leads), exchanges, member.counts["malformed"], held, taken
        )

    def _note(self, identity: str) -> Note:
        from modelward.fleet.note import LONGEST, Note, OfModel  # noqa: PLC0415 - see above

        promoter, models = self._promoter, {}
        for model, promotion in promoter.state.promotions.items():
            traffic = promoter.known(model).traffic if promotion.phase == "stepping" else None
            models[model] = OfModel(
                version=promotion.version[:LONGEST],
                step=promotion.words[:LONGEST],
                epoch=promotion.epoch,
                held=promoter.held(model)[:LONGEST],
                requests=traffic.requests if traffic is not None else 0,
                all_requests=traffic.total if traffic is not None else 0,
            )
        return Note(
            release=release_of("modelward")[:LONGEST],
            identity=identity,
            state="ready" if self._readiness.ready else self._readiness.reason[:LONGEST],
            uptime=time.monotonic() - self._began,
            lost=self.member.lost if self.member is not None else 0,
            name_taken=self.member is not None and self.member.namesake.is_there,
            models=models,
        )


def _server(replica: str, told: Told, leader: str) -> FleetServer:
    from modelward.fleet.note import decoded  # noqa: PLC0415 - see above
    from modelward.fleet.record import Malformed  # noqa: PLC0415

    try:
        note = decoded(told.data)
    except Malformed as error:
        return FleetServer(replica, told.age, problem=f"what it says cannot be read: {error}")
    models = [
        FleetModel(model, each.version, each.step, each.epoch, each.held, each.requests, each.all_requests)
        for model, each in sorted(note.models.items())
    ]
    leads = bool(leader) and note.identity == leader
    server = FleetServer(replica, told.age, leads, note.release, note.state, note.uptime, note.lost, models, note.more)
    return replace(server, name_taken=note.name_taken)
