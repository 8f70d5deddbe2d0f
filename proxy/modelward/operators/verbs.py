"""What can be done to a server, and which of the roles may do it: the one table of rights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from modelward.config.operators import ROLES, Role, Verb

__all__ = ["MEANING", "OF_SERVER", "ROLES", "VERBS", "Role", "Verb", "of_role"]

VERBS: Mapping[Verb, tuple[Role, ...]] = {
    # every role sees what it decides about
    "status": ("viewer", "operator", "deployer", "approver", "auditor", "administrator"),
    "report": ("viewer", "operator", "deployer", "approver", "auditor"),
    "proposals": ("viewer", "operator", "deployer", "approver", "auditor", "administrator"),
    "reload": ("operator", "deployer", "administrator"),
    "restart": ("operator",),
    "drain": ("operator",),
    "pardon": ("operator",),
    "accept": ("operator",),
    "override": ("operator",),
    "breaker": ("operator",),
    "restrict": ("operator",),
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
"""By verb the roles that may."""

MEANING: Mapping[Verb, str] = {
    "status": "see the state of the server, its models and its callers",
    "report": "see reports on shadows and drift",
    "proposals": "see proposals",
    "reload": "reload configuration and repository",
    "restart": "replace the workers",
    "drain": "end the server as SIGTERM does",
    "pardon": "run a version again with inputs that workers died of",
    "accept": "take what clients send and a model answers now as what is usual, so that an alarm of drift ends",
    "override": "limit a model or an identity for a time",
    "breaker": "hold circuit breakers of upstreams open or closed for a time",
    "restrict": "hold an identity at a step of detection for a time, or pardon it",
    "promote": "give a version its first or its next share of the requests",
    "rollback": "roll a promotion back",
    "force": "promote although not every bound is decided",
    "approve": "approve a proposal",
    "reject": "reject a proposal",
    "review": "review what was done by breaking the glass",
    "audit": "read the audit trail",
    "samples": "read recorded requests",
    "bindings": "reload or approve a configuration that changes who may do what, who is believed, or what is recorded",
}

OF_SERVER: frozenset[Verb] = frozenset({"reload", "restart", "drain", "audit", "bindings"})
"""Verbs that concern the whole server, whichever model is named: they take a binding with models `*`."""


@cache
def of_role(role: str) -> frozenset[str]:
    """The verbs of a role of the table; none where there is no such role."""
    return frozenset(verb for verb, roles in VERBS.items() if role in roles)
