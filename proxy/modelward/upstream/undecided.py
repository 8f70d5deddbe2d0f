"""Models whose upstreams decide which version answers, though the configuration says that it is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelward.config.schema import Config
from modelward.models.approved import Approved, was_covered
from modelward.models.opening import OpenVersion
from modelward.problem import Problem

LISTED = 8  # models that one note names
WHY = "they tell no versions, or the signature is declared or not known, so no request can name one"
UNREAD = "what upstreams do in methods that are not known here is not read, such as loading a version"


def undecided(config: Config, models: Iterable[OpenVersion], approved: Approved | None = None) -> Iterator[Problem]:
    """As notes. approved: versions that may answer."""
    names = dict.fromkeys(m.checked.name for m in models if m.upstreams and not m.checked.interface)
    open_ = [name for name in names if not was_covered(config, approved, name)]
    if guarded := [name for name in open_ if config.approvers("promote", name)]:
        listed = ", ".join(guarded[:LISTED]) + (f" and {len(guarded) - LISTED} more" if len(guarded) > LISTED else "")
        what = f"approvals do not cover the versions of {listed}: the upstreams decide which one answers"
        how = "Use upstreams that list versions and signatures, or control there what is loaded"
        yield Problem(what, "approvals.promote", WHY, how)
    for name in names:
        settings = config.settings(name)
        if settings.versions is not None:
            what = "it has no effect: the upstreams decide which version answers"
            yield Problem(what, f"models.{name}.versions", WHY, "Leave it out")
    if config.passthrough and any(config.approvers("promote", name) for name in ("", *config.models)):
        yield Problem("approvals do not cover calls that pass through", "passthrough", UNREAD, "Set it to false")
