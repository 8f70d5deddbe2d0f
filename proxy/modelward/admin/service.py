"""The methods of modelward.admin.v1.Admin: the one list of them, with what handles each."""

from functools import partial

from modelward.admin import method_rows
from modelward.admin.authorization import Authorization, Streaming, Unary
from modelward.admin.breaker_calls import BreakerCalls
from modelward.admin.capture_calls import CaptureCalls
from modelward.admin.identity_calls import IdentityCalls
from modelward.admin.limit_calls import LimitCalls
from modelward.admin.messages import SERVICE, message
from modelward.admin.model_calls import ModelCalls
from modelward.admin.operator import Operator
from modelward.admin.own_rights import can_i, who_am_i
from modelward.admin.proposal_calls import ProposalCalls
from modelward.admin.server_calls import ServerCalls
from modelward.rpc.call import Method

AT_ONCE = ("Status", "Identities")  # answered without waiting for anything

__all__ = ["SERVICE", "Service", "message"]


class Service:
    """Whatever a call has begun is finished without its caller too; a restart until `stop`."""

    def __init__(self, server: Operator, authorization: Authorization) -> None:
        self._authorization = authorization
        self._server_calls = of_server = ServerCalls(server)
        of_identities = IdentityCalls(server)
        of_models, limits, proposals = ModelCalls(server), LimitCalls(server), ProposalCalls(server)
        waiting = lambda: server.needs_restart  # noqa: E731 - as it is then
        self._unary: dict[str, Unary] = {
            "Status": of_server.status,
            "Reload": of_server.reload,
            "Promote": of_models.promote,
            "Rollback": of_models.rollback,
            "Shadows": of_models.shadows,
            "Drift": of_models.drift,
            "AcceptDrift": of_models.accept_drift,
            "Pardon": of_models.pardon,
            "OpenCapture": CaptureCalls(server).open,
            "Drain": of_server.drain,
            "SetLimit": limits.set,
            "UnsetLimit": limits.unset,
            "OverrideBreaker": BreakerCalls(server).override,
            "Identities": of_server.identities,
            "Suspects": of_identities.suspects,
            "RestrictIdentity": of_identities.restrict,
            "PardonIdentity": of_identities.pardon,
            "WhoAmI": partial(who_am_i, waiting),
            "CanI": partial(can_i, server.proposals.needed, waiting),
            "Proposals": proposals.proposals,
            "Approve": proposals.approve,
            "Reject": proposals.reject,
            "Withdraw": proposals.withdraw,
            "Review": proposals.review,
        }
        self._streaming: dict[str, Streaming] = {"RollingRestart": of_server.restart}
        self.at_once = {method_rows.path(name) for name in AT_ONCE}

    def methods(self) -> dict[bytes, Method]:
        """By path, for modelward.server.methods.Dispatcher. Each asks for its right first."""
        own = self._authorization
        rows = {name: method_rows.unary(name, own.unary(name, method)) for name, method in self._unary.items()}
        for name, method in self._streaming.items():
            rows[name] = method_rows.streaming(name, own.streaming(name, method))
        return {method_rows.path(name): row for name, row in rows.items()}

    def stop(self) -> None:
        self._server_calls.stop()
