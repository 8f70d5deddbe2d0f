"""What an operator asks of promotions, and why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from modelward.config.promotion import check_steps
from modelward.config.schema import Config
from modelward.config.units import UnitError
from modelward.drift.cause import Cause
from modelward.models.facts import GUARDS, FactsByVersion
from modelward.models.weights import primary
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.guard import Arm
from modelward.promotion.state import LONGEST_REASON, Promotion, Shares
from modelward.suggest import suggestion

GOOD = ("better", "equivalent")


class Wanted(Struct, frozen=True):
    """steps: in per cent; None: as configured. auto: it goes on by itself. actor: who asks (modelward.admin.actor).

    force: the reason why a step is to be done although not every bound is decided; empty: it is not. reason: of one
    that is not forced. without: guards that the version may lack, of modelward.models.facts.GUARDS. proposal: number of
    the one that this executes, 0 for none; digest: of the version's files as it was approved, empty for any; percent:
    as `percent_of` when it was approved, None for any.
    """

    model: str
    version: str
    steps: tuple[int, ...] | None = None
    auto: bool = False
    force: str = ""
    reason: str = ""
    actor: str = ""
    without: tuple[str, ...] = ()
    proposal: int = 0
    digest: str = ""
    percent: tuple[int, int] | None = None

    @property
    def why(self) -> str:
        return self.force or self.reason


class PromotedServer(Protocol):
    """What serves: asked for what there is, and told which version gets what."""

    @property
    def config(self) -> Config:
        """As it was written."""

    def models(self) -> tuple[str, ...]:
        """Those that are served."""

    def versions(self, model: str) -> tuple[str, ...]:
        """Those that are served, ascending."""

    def facts(self, model: str) -> FactsByVersion:
        """Of those that are served."""

    def arms(self, model: str) -> Mapping[str, Arm]:
        """What each version has answered so far."""

    def verdict(self, model: str, version: str, shares: Shares) -> str | None:
        """On the shadow that this version is of the other one with the largest share; None where it is none."""

    def drift(self, model: str, version: str) -> Cause:
        """Whose change it is that the version's inputs or outputs show now."""

    async def share(self, shares: Mapping[str, Shares]) -> None:
        """From now on these models' requests are shared like this, whatever the configuration says."""


def configured(server: PromotedServer, model: str) -> dict[str, int] | None:
    """`versions:` of the model."""
    versions = server.config.settings(model).versions
    return None if versions is None else dict(versions)


def steps_from_here(server: PromotedServer, promotion: Promotion, wanted: Wanted) -> tuple[int, ...]:
    """New steps take the place of those that are to come."""
    if wanted.steps is None:
        return promotion.steps
    left = tuple(step for step in steps_of(server, wanted) if step > promotion.percent)
    return (*promotion.steps[: promotion.step + 1], *left)


def steps_of(server: PromotedServer, wanted: Wanted) -> tuple[int, ...]:
    """As asked for, or as configured. Raises ProblemsFound, as all that follow."""
    if wanted.steps is None:
        return server.config.settings(wanted.model).promotion.steps
    try:
        check_steps(wanted.steps)
    except UnitError as error:
        raise refused(str(error), wanted.model, error.how) from error
    return wanted.steps


def check(server: PromotedServer, wanted: Wanted, now: Promotion | None, present: Callable[[str], Shares]) -> None:
    """All that is known before the requests of its steps are judged. now: what is under way. present: the shares that a
    served model's versions have."""
    model, version = wanted.model, wanted.version
    check_version(server, model, version)
    check_decided(server, model)
    check_digest(server, wanted)
    check_reason(model, wanted.why)
    check_names(wanted)
    check_percent(server, wanted, now, present)
    if now is not None:
        if now.version != version:
            raise refused(
                f"version {now.version} is being promoted at {now.percent} %", model, _first(now, model, version)
            )
        return
    before = present(model)
    first = steps_of(server, wanted)[0]
    if not before and first != 100:
        what = f"no version answers, so its first step is all of the requests, and not {first} %"
        raise refused(what, model, "Say so: --steps 100")
    if [v for v, share in before.items() if share] == [version]:
        raise has_all(model, version)
    check_verdict(server, wanted, before)
    check_guards(server, wanted, before)


def _first(now: Promotion, model: str, version: str) -> str:
    """What is done about the promotion under way, before another version is promoted."""
    back = f"modelward rollback {model} gives all to the version before"
    if now.step + 1 < len(now.steps):
        return f"Go on with it, or take it back: {back}"
    done = f"modelward promote {model} {now.version} --force --reason TEXT ends it with 100 %"
    return f"It ends by itself once every bound is decided. At once: {done}; {back}. Then promote {version}"


def check_version(server: PromotedServer, model: str, version: str) -> None:
    served = server.versions(model)
    if version not in served:
        how = "Put it into the repository and look at modelward status"
        if not served:
            raise no_such_model(server, model, how)
        raise refused(f"version {version} is not served; {', '.join(served)} are", model, how)
    if server.config.policy(model) == "explicit" and version not in (configured(server, model) or {}):
        how = f"Write {version} into models.{model}.versions, with a weight of 0, or set version_policy to another"
        raise refused(f"version_policy is explicit, and versions: does not name version {version}", model, how)


def check_verdict(server: PromotedServer, wanted: Wanted, before: Shares) -> None:
    model, version = wanted.model, wanted.version
    verdict = server.verdict(model, version, before)
    look = f"modelward shadow report {model} {version} tells why"
    if verdict == "worse":
        how = f"{look}. If the difference is intended, widen models.{model}.shadow.bounds, or remove the shadow"
        raise refused(f"the verdict on version {version} is worse, and --force does not outweigh that", model, how)
    if verdict in GOOD or wanted.force:
        return
    found = verdict or "not there: it is no shadow"
    if verdict is None:
        look = f"Set models.{model}.shadow to {{version: {version}}} and wait for a good one"
    how = f"{look}; or say why its first step may be done without: --force --reason TEXT"
    raise refused(f"the verdict on version {version} is {found}", model, how)


def check_guards(server: PromotedServer, wanted: Wanted, before: Shares) -> None:
    """Whether it has the guards that the version has from which it takes over."""
    model, facts = wanted.model, server.facts(wanted.model)
    others = [version for version in server.versions(model) if version != wanted.version]
    if not others or wanted.version not in facts:
        return
    other = primary(others, before)
    for guard in facts[wanted.version].lacks(facts.get(other)):
        if guard not in wanted.without:
            what = f"version {wanted.version} has no {guard}, and version {other} has one"
            raise refused(what, model, f"Make one for it, or promote it with --without-{guard}")


def digest_of(server: PromotedServer, model: str, version: str) -> str:
    """Of all files of a version; of one whose files are out of reach, on an upstream, of what requests to it look like.
    Raises ProblemsFound."""
    check_version(server, model, version)
    facts = server.facts(model).get(version)
    return facts.digest or facts.interface if facts is not None else ""


def check_decided(server: PromotedServer, model: str) -> None:
    """Whether shares of its versions are decided here."""
    if not server.facts(model):
        what = "its upstreams decide which version answers: they tell no versions, or no signature"
        raise refused(what, model, "Promote it there, or use upstreams that list versions and signatures")


def check_digest(server: PromotedServer, wanted: Wanted) -> None:
    """Whether the version is the one that was approved."""
    if wanted.proposal and digest_of(server, wanted.model, wanted.version) != wanted.digest:
        what = f"version {wanted.version} has other files than those that were approved"
        raise refused(what, wanted.model, "Look at what is there now, and propose it again")


def percent_of(
    server: PromotedServer, wanted: Wanted, now: Promotion | None, present: Callable[[str], Shares]
) -> tuple[int, int]:
    """Share that the version has, and that it has once this is done. As `check`."""
    if now is None:
        shares = present(wanted.model)
        return round(100 * shares.get(wanted.version, 0) / max(1, sum(shares.values()))), steps_of(server, wanted)[0]
    steps = steps_from_here(server, now, wanted)
    return now.percent, steps[now.step + 1] if now.step + 1 < len(steps) else 100


def check_percent(
    server: PromotedServer, wanted: Wanted, now: Promotion | None, present: Callable[[str], Shares]
) -> None:
    """Whether it would give the version the share that was approved."""
    if wanted.percent is None or wanted.percent == (found := percent_of(server, wanted, now, present)):
        return
    what = "it would take version {} from {} to {} % by now, and was proposed from {} to {} %"
    how = "Propose it again if it is still wanted"
    raise refused(what.format(wanted.version, *found, *wanted.percent), wanted.model, how)


def check_names(wanted: Wanted) -> None:
    if unknown := set(wanted.without).difference(GUARDS):
        what = f"there is no guard {min(unknown)[:20]!r} to do without"
        raise refused(what, wanted.model, f"Name one of {', '.join(GUARDS)}")


def check_reason(model: str, why: str) -> None:
    if not why.isprintable():
        raise refused("the reason has characters that cannot be printed", model, "Write it in one line of text")
    if len(why) > LONGEST_REASON:
        raise refused(f"the reason has {len(why)} characters", model, f"Say it in {LONGEST_REASON}")


def no_such_model(server: PromotedServer, model: str, how: str) -> ProblemsFound:
    return refused("there is no such model", model, suggestion(model, server.models()) or how)


def has_all(model: str, version: str) -> ProblemsFound:
    return refused(f"version {version} has all requests already", model, "There is nothing to do")


def refused(what: str, model: str, how: str) -> ProblemsFound:
    return ProblemsFound([Problem(what, f"model {model}", how=how)])
