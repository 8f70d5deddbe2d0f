"""Descriptors of files: how many a process may have open, and how many connections that allows."""

import resource

from msgspec import Struct

from modelward.config.schema import Config
from modelward.problem import Problem

DEFAULT_TOTAL, DEFAULT_PER_PEER = 20_000, 1_000
# one peer has a quarter at most: three others find a place beside it, whatever it does
PEER_PART = 4
# a process gains nothing by more, and some libraries walk through all of them
MOST = 1 << 20
# kept free for models, logs, HTTP, the admin API, the loop, and connections that have given way and are not closed yet
# (one turn of accepting makes 64 of them): a quarter, within these bounds; and some for each upstream
LEAST_KEPT, MOST_KEPT = 128, 256
KEPT_PER_UPSTREAM = 4
KEY = "limits.connections"


class ConnectionBounds(Struct, frozen=True):
    """Connections that there may be: in all, of one peer, and with one process. limit: descriptors of a process."""

    total: int
    per_peer: int
    here: int
    limit: int


def raise_limit() -> None:
    """Lets this process, and those that it starts, open as many files as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit_of_now() -> int:
    """Descriptors that this process may have as it is."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if soft == resource.RLIM_INFINITY else soft


def connection_bounds(config: Config, limit: int | None = None) -> ConnectionBounds:
    """limit: descriptors of one process; None for what this one may raise its own to."""
    if limit is None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = MOST if hard == resource.RLIM_INFINITY else hard
    servers = len(config.upstreams) + sum(len(settings.upstreams) for settings in config.models.values())
    kept = min(max(limit // 4, LEAST_KEPT), MOST_KEPT) + KEPT_PER_UPSTREAM * servers
    here = max(limit - kept, limit // 4, 1)
    wanted = config.limits.connections
    possible = here * config.workers
    total = min(wanted.total or DEFAULT_TOTAL, possible)
    per_peer = min(wanted.per_peer or min(DEFAULT_PER_PEER, max(possible // PEER_PART, 1)), total)
    return ConnectionBounds(total, per_peer, here, limit)


def notes(config: Config, limit: int | None = None) -> list[Problem]:
    """Where more connections are configured than the system lets a server have. limit: as in `connection_bounds`."""
    found, wanted = connection_bounds(config, limit), config.limits.connections
    told = []
    for key, asked in (("total", wanted.total), ("per_peer", wanted.per_peer)):
        if asked is not None and asked > found.total:
            why = f"a process may open {found.limit} files (ulimit -Hn), and {config.workers} serve"
            how = f"Raise the limit (LimitNOFILE= of systemd), or lower {KEY}.{key}"
            what = f"{asked} connections are asked for, {found.total} will be taken"
            told.append(Problem(what, f"{KEY}.{key}", why, how))
    return told
