"""The section `limits` given to the listener and the limiter of a server that runs."""

from collections.abc import Iterable

from modelward.config.schema import Config
from modelward.limits.overrides import Overrides
from modelward.limits.temporary import TemporaryLimit
from modelward.models.opening import OpenVersion
from modelward.server.descriptors import connection_bounds, limit_of_now
from modelward_native.request.server import Server


def apply_limits(config: Config, overrides: Overrides, server: Server) -> None:
    """Rates keep what is owed. Connections that are open keep their number of streams."""
    limits = config.limits
    limiter, listener = server.listener.limiter, server.listener
    for limit, set_rate in (
        (limits.peer, limiter.set_peer),
        (limits.identity, limiter.set_identity),
        (limits.total, limiter.set_total),
    ):
        set_rate(*limit.native) if limit is not None else set_rate(0, 1)
    limiter.set_overrides(overrides.native)
    server.set_priorities(*overrides.priority)
    listener.set_limited(overrides.networks)
    bounds = connection_bounds(config, limit_of_now())
    listener.max_connections, listener.max_per_peer = bounds.total, bounds.per_peer
    listener.max_here = bounds.here
    listener.set_ipv6(limits.ipv6.prefix, limits.ipv6.peers)
    listener.set_arrivals(limits.connections.rate_per_peer)
    listener.set_sizes(limits.message_size, limits.inflight_bytes, limits.streams, limits.inflight_share)
    times = limits.timeouts
    listener.set_timeouts(times.handshake, times.request, times.idle_stream, times.idle_connection, times.stalled)


def limit_models(models: Iterable[OpenVersion], temporary: Iterable[TemporaryLimit]) -> None:
    """Limits of models, configured or for a time. Before Server.serve, which makes one of those of all processes."""
    limits = {each.name: each.limit for each in temporary if each.kind == "model"}
    for model in models:
        limit = limits.get(model.served.name, model.checked.settings.limit)
        model.served.set_limit(*limit.native) if limit is not None else model.served.set_limit(0, 1)
