"""Who is besieged: Modelward, or Envoy or HAProxy as their documentation says that an edge is to be protected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.hop.proxies import ENVOY_WHEEL, installed_envoy, system
from loadtests.race.ours import serve
from loadtests.siege import tenants
from loadtests.siege.tenants import Keys
from loadtests.tools.process import Process, started
from loadtests.tools.server import api_key

Start = Callable[[int], AbstractContextManager[Process]]

RATE = 200  # requests per second of one identity; the honest send 50 at most; the burst is half a second's worth
UNLIMITED = 1_000_000
# Of the one server's second per second, what each of five tenants may have: a quarter. Honest ones need an eighth, 25
# requests of 5 ms. At once: two expensive requests, which leaves half of the server's slots to the others.
BUDGET = {"time": "250ms/s", "burst": "200ms"}
EXPENSIVE_AT_ONCE = (
    2  # the same of all tenants together, also while it is not known yet what an expensive request costs
)


@dataclass(frozen=True)
class Peer:
    """prepare(folder, backend's port, limited) makes what it needs and tells the tenants' keys; it may raise Absent.

    limited: whether there is a limit of each identity.
    """

    name: str
    about: str
    prepare: Callable[[Path, int, bool], tuple[Start, Keys]]


# https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge, with a limit per key and a circuit
# breaker besides. Its adaptive_concurrency is left out: with twenty calls at a time it refused a third of them when all
# was quiet.
ENVOY = """\
admin: {{}}
overload_manager:
  refresh_interval: 0.25s
  resource_monitors:
  - name: envoy.resource_monitors.fixed_heap
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
      max_heap_size_bytes: 2147483648
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      "@type": type.googleapis.com/{downstream_connections}
      max_active_downstream_connections: 20000
  actions:
  - name: envoy.overload_actions.shrink_heap
    triggers: [{{name: envoy.resource_monitors.fixed_heap, threshold: {{value: 0.95}}}}]
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{{name: envoy.resource_monitors.fixed_heap, threshold: {{value: 0.98}}}}]
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    per_connection_buffer_limit_bytes: 32768
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: siege
          codec_type: HTTP2
          use_remote_address: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
          common_http_protocol_options:
            idle_timeout: 3600s
            headers_with_underscores_action: REJECT_REQUEST
          http2_protocol_options:
            max_concurrent_streams: 100
            initial_stream_window_size: 65536
            initial_connection_window_size: 1048576
          stream_idle_timeout: 300s
          request_timeout: 300s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route:
                  cluster: upstream
                  max_stream_duration: {{grpc_timeout_header_max: 0s}}
                  rate_limits: [{{actions: [{{request_headers: {{header_name: authorization, descriptor_key: key}}}}]}}]
          http_filters:
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s}}
              filter_enabled: {{default_value: {{numerator: 100}}}}
              filter_enforced: {{default_value: {{numerator: 100}}}}
              max_dynamic_descriptors: 1000
              descriptors:
              - entries: [{{key: key}}]
                token_bucket: {{max_tokens: {burst}, tokens_per_fill: {fill}, fill_interval: 0.1s}}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: upstream
    type: STATIC
    per_connection_buffer_limit_bytes: 32768
    circuit_breakers: {{thresholds: [{{max_requests: 128, max_pending_requests: 128, max_retries: 3}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {{initial_stream_window_size: 65536, initial_connection_window_size: 1048576}}
    load_assignment:
      cluster_name: upstream
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1,
        port_value: {upstream}}}}}}}}}]}}]
"""

CONNECTIONS_CONFIG = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"

# what its documentation has for floods: a rate per key in a stick table, timeouts, HTTP/2 limits, a queue per server
HAPROXY = """\
global
  nbthread 1
  maxconn 9000
  tune.h2.fe.max-concurrent-streams 100
  tune.h2.fe.glitches-threshold 1000
  tune.h2.fe.max-total-streams 1000000
defaults
  mode http
  timeout client 30s
  timeout server 10s
  timeout connect 1s
  timeout http-request 5s
  timeout http-keep-alive 60s
  timeout queue 1s
frontend siege
  bind 127.0.0.1:{port} proto h2
  stick-table type string len 64 size 100k expire 10s store http_req_rate(1s)
  http-request track-sc0 req.hdr(authorization)
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {rate} }}
  default_backend upstream
backend upstream
  server upstream 127.0.0.1:{upstream} proto h2 maxconn 64
"""


def modelward(folder: Path, upstream: int, limited: bool) -> tuple[Start, Keys]:
    keys_file = folder / "keys"
    made = {name: api_key(keys_file, name) for name in (*tenants.HONEST, tenants.GREEDY)}
    light = {"upstreams": [f"127.0.0.1:{upstream}"]}
    expensive = {**light, "admission": {"concurrency": EXPENSIVE_AT_ONCE}}
    settings: Mapping[str, Any] = {
        "access": {"keys": str(keys_file), "rules": [{"identity": "*", "models": ["*"]}]},
        "limits": {"identity": BUDGET} if limited else {},
        "models": {"light": light, "expensive": expensive},
    }
    keys = Keys([made[name] for name in tenants.HONEST], made[tenants.GREEDY])
    return lambda port: serve(folder / "config.yaml", settings, port), keys


def envoy(folder: Path, upstream: int, limited: bool) -> tuple[Start, Keys]:
    binary, config = installed_envoy(), folder / "envoy.yaml"
    rate = RATE if limited else UNLIMITED
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path", str(config)]

    def start(port: int) -> AbstractContextManager[Process]:
        config.write_text(
            ENVOY.format(
                downstream_connections=CONNECTIONS_CONFIG,
                port=port,
                upstream=upstream,
                burst=rate // 2,
                fill=rate // 10,
            )
        )
        return started("Envoy", [binary, *options])

    return start, tenants.keys()


def haproxy(folder: Path, upstream: int, limited: bool) -> tuple[Start, Keys]:
    binary, config = system("haproxy"), folder / "haproxy.cfg"
    rate = RATE if limited else UNLIMITED

    def start(port: int) -> AbstractContextManager[Process]:
        config.write_text(HAPROXY.format(port=port, upstream=upstream, rate=rate))
        return started("HAProxy", [binary, "-db", "-f", str(config)])

    return start, tenants.keys()


PEERS = {
    "modelward": Peer(
        "Modelward", "API keys, backend time per identity, 2 expensive requests at a time; else as it ships", modelward
    ),
    "envoy": Peer(f"Envoy ({ENVOY_WHEEL})", "edge profile, local_ratelimit per key, circuit breaker", envoy),
    "haproxy": Peer("HAProxy", "stick table per key, timeouts, HTTP/2 limits, maxconn and a queue per server", haproxy),
}
