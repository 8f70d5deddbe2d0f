"""Reloads of a whole server: the configuration read again, its rules and then its models followed by all workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from modelward.admin.operator import OperationResult
from modelward.audit.record import Record, automatic
from modelward.audit.recorder import NoTrail, Recorder
from modelward.config.changes import changed_rights, followed, with_models, with_rules
from modelward.config.digest import digest
from modelward.config.listen import Listen
from modelward.config.schema import Config
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.promoter import Promoter
from modelward.repository.scan import listed
from modelward.supervisor.notify import Notifier
from modelward.supervisor.reload_history import ReloadHistory
from modelward.supervisor.turns import Turns
from modelward.supervisor.worker_pool import WorkerPool

log = logging.getLogger("modelward.supervisor")

MOST_WORDS = 50  # of a list in a record
REMIND_SECONDS = 600.0  # between two lines about what waits for a restart


class Reloader:
    """config: what is followed, after each reload another. generation: counts reloads that changed something.
    needs_restart: keys that the configuration has otherwise, and that only a restart of the server changes.

    load: reads the configuration again. at_work: gives the workers, or raises NotNow. done: told in words of the end of
    each reload of models. prepare: reads what the admin API needs of a configuration, and returns what makes it follow;
    may raise ProblemsFound. faulty: why files that lie there cannot be followed, where `load` gave what was approved.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        at_work: Callable[[], WorkerPool],
        promoter: Promoter,
        notifier: Notifier,
        *,
        done: Callable[[str], None],
        recorder: Callable[[], Recorder] = NoTrail,
        prepare: Callable[[Config], Callable[[], None]] = lambda config: lambda: None,
        faulty: Callable[[], tuple[Problem, ...]] = tuple,
    ) -> None:
        self.config = config
        self.generation = 1
        self.history = ReloadHistory()
        self.needs_restart: tuple[str, ...] = ()
        self._accepted = config  # with what waits for a restart
        self._listen = config.listen  # as it was asked for, before ports were chosen
        self._load = load
        self._at_work = at_work
        self._promoter = promoter
        self._notifier = notifier
        self._done = done
        self._recorder = recorder
        self._prepare = prepare
        self._faulty = faulty
        self._with_rights = False  # one of those who wait for a reload of rules may change rights
        self._ruling = Turns(self._follow_rules)
        self._models = Turns(self._follow_models)
        self._is_changed = False  # by what the reload under way has done so far
        self._noted: tuple[OperationResult, ...] = ()  # the parts of the last reload
        self._noted_restart: tuple[str, ...] = ()  # at the last reload that was noted
        self._said = ""  # of the last reload, to the service manager

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        """Serves what configuration and repository hold now. What is refused is logged and told, and stays as it was.

        All that is not about models is followed first, at once, whatever reload of models is under way. Raises NotNow.
        Goes on if the caller is cancelled. A caller that asks while a reload waits for its turn gets that one's result.

        rights: whether the caller may change OF_RIGHTS. Where they differ and it may not, nothing is followed.
        """
        if actor:
            self._at_work()
            log.info("reload, asked by %s", actor)
        before = self.config
        try:
            outcome, parts = await self._reload(actor, rights)
        except asyncio.CancelledError:
            if actor:
                self._promoter.note("reload", actor)
            raise
        # changes that come together share a reload, which is noted once
        told, self._noted = self._noted, parts
        waits, self._noted_restart = self.needs_restart != self._noted_restart, self.needs_restart
        if not actor:
            fresh = [part for part in parts if all(part is not each for each in told)]
            if not waits and not any(part.changed or part.problems or part.rights for part in fresh):
                return outcome
        if actor or waits or outcome.changed or outcome.problems or outcome.rights:
            refused = (", partly refused" if outcome.changed else " refused") if outcome.problems else ""
            waiting = (f"needs a restart: {', '.join(self.needs_restart)}",) if waits and self.needs_restart else ()
            why = "; ".join((*outcome.changed, *waiting, *map(str, outcome.problems)))
            self._promoter.note(f"reload{refused}", actor or "watching", why, kept=bool(actor))
            if not actor:
                self._recorder().note(_followed(outcome, self.generation, self.needs_restart, before, self.config))
        return outcome

    async def remind(self) -> None:
        """Says for ever, from time to time, what waits for a restart."""
        while True:
            await asyncio.sleep(REMIND_SECONDS)
            self._tell_restart()

    def _tell_restart(self) -> None:
        if self.needs_restart:
            log.warning(
                "%s: changed only by a restart; what the server began with stays", ", ".join(self.needs_restart)
            )

    async def _reload(self, actor: str, rights: bool) -> tuple[OperationResult, tuple[OperationResult, ...]]:
        """What came of it, and of its parts, which callers may share."""
        by = self.history.asked_by = actor or "watching"
        self._with_rights |= rights
        rules = await self._ruling.take()
        if rules.problems:
            return replace(rules, last_change=self.history.last_change), (rules,)
        self.history.apply(by, rules.changed)
        models = await self._models.take()
        changed = (*rules.changed, *models.changed)
        self.history.apply(by, changed)
        last = None if changed else self.history.last_change
        outcome = OperationResult(models.problems, changed, models.needs_restart, last, rights=rules.rights)
        return outcome, (rules, models)

    def cancel(self) -> None:
        """Gives up what is under way."""
        self._ruling.cancel()
        self._models.cancel()

    async def _follow_rules(self) -> OperationResult:
        with_rights, self._with_rights = self._with_rights, False  # at once: who asks from now on waits for the next
        pool = self._at_work()
        try:
            said = await self._load_again()
            if not with_rights:
                self._check_rights(said)
            wanted, _ = followed(self.config, said)
            follow = self._prepare(wanted)
            changed = await pool.rule(wanted)
            follow()
        except ProblemsFound as found:
            return self._refuse(found)
        told = self._changed_rights(said)
        before, self._accepted = self.config, said
        self.config = with_rules(self.config, wanted)
        if rights := changed_rights(before, self.config):
            log.warning("reloaded, who may do what has changed: %s", ", ".join(rights))
        if changed:
            log.info("reloaded, of what is not about models: %s", ", ".join(changed))
            self._is_changed = True
        return OperationResult((), changed, rights=told)

    async def _follow_models(self) -> OperationResult:
        pool = self._at_work()
        self._notifier.reloading()
        log.info("reloading models")
        self._said = ""
        try:
            wanted, restart = followed(self.config, self._accepted)  # as read for the rules: once a reload
            await self._expect(pool, wanted)
            changed, problems = await pool.reload(wanted)
            kept = {each.name for each in pool.report.refused if each.kept} if pool.report is not None else set()
            self.config = with_models(with_rules(wanted, self.config), self.config, kept)
            self._promoter.settle()
            await pool.share(self._promoter.shares)
            self._is_changed = True
            self.history.refused = None
            if faulty := self._faulty():
                self.history.unread += 1
                self.history.refuse(faulty)
            self.needs_restart = tuple(restart)
            self._tell_restart()
            return OperationResult((*problems, *faulty), changed, tuple(restart))
        except ProblemsFound as found:
            await self._expect(pool, self.config)
            return self._refuse(found)
        finally:
            self.generation += self._is_changed
            self._is_changed = False
            self._done(self._said)

    def _check_rights(self, wanted: Config) -> None:
        """wanted: with what a restart would follow. Raises ProblemsFound."""
        if changed := changed_rights(self._bound, wanted):
            why = "who asks may not change who may do what: that takes the verb bindings"
            how = "Ask an administrator to reload, or take the change back"
            raise ProblemsFound([Problem(f"{' and '.join(changed)} differ", "configuration", why, how)])

    def _changed_rights(self, wanted: Config) -> tuple[str, ...]:
        """With their values, and those that wait for a restart."""
        if self._accepted == wanted:
            return ()
        from modelward.approvals.differences import on_record  # noqa: PLC0415 - only where something has changed

        return on_record(self._bound, wanted)

    @property
    def _bound(self) -> Config:
        """What was accepted last, with the addresses that were bound."""
        return self._accepted.model_copy(update={"listen": self._with_ports(self._accepted.listen)})

    async def _expect(self, pool: WorkerPool, config: Config) -> None:
        """Tells the workers which version of a model is to answer that has no share yet."""
        there = await asyncio.get_running_loop().run_in_executor(None, listed, config.repository)
        self._promoter.expect(config, there)
        if self._promoter.shares != pool.shares:
            await pool.share(self._promoter.shares)

    async def _load_again(self) -> Config:
        """What the configuration says now."""
        try:
            wanted = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except ProblemsFound:
            self.history.unread += 1
            raise
        return wanted.model_copy(update={"listen": self._with_ports(wanted.listen)})

    def _refuse(self, found: ProblemsFound) -> OperationResult:
        for problem in found.problems:
            log.error("not reloaded: %s", problem, extra={"fields": {"reason": problem.what, "where": problem.where}})
        self._said = "; the last reload was refused, the log says why"
        self.history.refuse(found.problems)
        return OperationResult(found.problems)

    def _with_ports(self, wanted: Listen) -> Listen:
        """With the addresses that were bound in place of those that were asked for the first time too."""
        same = [key for key in Listen.model_fields if getattr(wanted, key) == getattr(self._listen, key)]
        return wanted.model_copy(update={key: getattr(self.config.listen, key) for key in same})


def _followed(
    outcome: OperationResult, generation: int, restart: tuple[str, ...], before: Config, config: Config
) -> Record:
    """Of files that changed, without an operator who asked."""
    refused = outcome.problems and not outcome.changed
    return automatic(
        "files.followed",
        result="refused" if refused else "done",
        before={"config": digest(before)},
        after={
            "generation": generation,
            "config": digest(config),
            "changed": [*outcome.changed[:MOST_WORDS]],
            **({"rights": [*outcome.rights[:MOST_WORDS]]} if outcome.rights else {}),
            **({"needs_restart": [*restart[:MOST_WORDS]]} if restart else {}),
        },
        problems=tuple(each.as_json() for each in outcome.problems[:MOST_WORDS]),
    )
