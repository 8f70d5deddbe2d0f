"""The right that each call of the admin API needs: one row for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from modelward.config.operators import Verb

Of = Literal["model", "seen", "server"]


class Need(Struct, frozen=True):
    """verb: None where every operator whose name is proved may. of: `model`, that the request names; `server`: the
    whole of it; `seen`: any model, and the answer tells of no other."""

    verb: Verb | None
    of: Of = "model"


NEEDS: Mapping[str, Need] = {
    "Status": Need("status", "seen"),
    "Identities": Need("status", "server"),
    "Shadows": Need("report"),
    "Drift": Need("report", "seen"),
    "AcceptDrift": Need("accept"),
    "Reload": Need("reload", "server"),
    "RollingRestart": Need("restart", "server"),
    "Drain": Need("drain", "server"),
    "SetLimit": Need("override", "seen"),
    "UnsetLimit": Need("override", "seen"),
    "OverrideBreaker": Need("breaker"),
    "Suspects": Need("status", "seen"),
    "RestrictIdentity": Need("restrict", "seen"),
    "PardonIdentity": Need("restrict", "seen"),
    "Promote": Need("promote"),
    "Rollback": Need("rollback"),
    "Pardon": Need("pardon"),
    "OpenCapture": Need("samples"),
    "Proposals": Need("proposals", "seen"),
    "Approve": Need("approve", "seen"),
    "Reject": Need("reject", "seen"),
    "Review": Need("review", "seen"),
    "Withdraw": Need("proposals", "seen"),
    "WhoAmI": Need(None),
    "CanI": Need(None),
}
"""By method. A promotion that is forced needs `force` too, and a reload that changes who may do what `bindings`: what
handles them asks for these. Who has proposed something may withdraw it; for others that takes `reject`."""
