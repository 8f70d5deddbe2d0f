"""Channels for the control plane's own questions to upstreams; requests never use them."""

from collections.abc import Callable
from typing import Any

import grpc

from modelward.config.upstream import UpstreamAddress
from modelward.rpc.protocol import message_class
from modelward.upstream.credentials import channel_credentials

# A channel that has failed tries again within this time; grpc's own pauses grow to two minutes.
LONGEST_RECONNECT_MS = 2000


def open_channel(address: UpstreamAddress) -> grpc.aio.Channel:
    """A connection of its own to one upstream; the caller closes it. Raises ProblemsFound of files of upstream_tls."""
    options: list[tuple[str, Any]] = [
        ("grpc.default_authority", address.authority),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MS),
        ("grpc.enable_http_proxy", 0),
    ]
    if address.tls is None:
        return grpc.aio.insecure_channel(address.target, options=options)
    return grpc.aio.secure_channel(address.target, channel_credentials(address.tls), options=options)


def method(channel: grpc.aio.Channel, path: str, request: str, response: str) -> Callable[..., Any]:
    """A unary method by its path and the full names of its messages."""
    call: Callable[..., Any] = channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_class(response).FromString,
    )
    return lambda timeout, **fields: call(message_class(request)(**fields), timeout=timeout)
