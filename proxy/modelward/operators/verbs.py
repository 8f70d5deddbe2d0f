"""What can be done to a server, and which of the roles may do it: the one table of rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Role = Literal["viewer", "operator", "deployer", "approver", "auditor", "administrator"]

VERBS: Mapping[str, tuple[Role, ...]] = {
    # every role but the auditor's sees what it decides about
    "status": ("viewer", "operator", "deployer", "approver", "auditor", "administrator"),
    "report": ("viewer", "operator", "deployer", "approver", "auditor"),
    "proposals": ("viewer", "operator", "deployer", "approver", "auditor", "administrator"),
    "reload": ("operator", "deployer"),
    "restart": ("operator",),
    "drain": ("operator",),
    "pardon": ("operator",),
    "override": ("operator",),
    "promote": ("deployer",),
    "rollback": ("operator", "deployer", "approver"),
    "force": ("deployer",),
    "approve": ("approver",),
    "reject": ("approver",),
    "review": ("approver",),
    "audit": ("auditor",),
    "samples": ("auditor",),
    "bindings": ("administrator",),
}
"""By verb the roles that may.

`force`: a promotion whose bounds are not all decided. `review`: of what was done by breaking the glass. `override`:
limits and breakers. `audit`: to read the trail. `samples`: recorded requests. `bindings`: a reload that changes
`operators`, `approvals` or `audit`.
"""

ROLES: tuple[Role, ...] = ("viewer", "operator", "deployer", "approver", "auditor", "administrator")
