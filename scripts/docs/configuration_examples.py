"""Examples for every section of the configuration: each is a whole file that `modelward check` would accept.

A line `---` ends one and begins another, for keys that exclude each other. A test holds them against the schema, and
every key against them.
"""

_SIGNATURE = """
models:
  fraud:
    upstreams: ["10.0.0.5:8001"]
    signature:
      inputs:
        - name: x
          datatype: FP32
          shape: [-1, 30]
      outputs:
        - name: probabilities
          datatype: FP32
          shape: [-1, 2]
"""

EXAMPLES = {
    "": """
repository: ./models          # NAME/VERSION/model.onnx
workers: auto
strict: false
load_timeout: 2m
watch: true
upstreams: ["triton:8001"]    # and every model that this server lists
upstream_tls: {ca: ca.pem}
trusted_proxies: [10.0.0.0/8, "unix:"]
passthrough: false
state: /var/lib/modelward
version_policy: promoted
sticky_header: x-user
tls: {certificate: server.pem, key: server.key}
admin_tls: {certificate: server.pem, key: server.key, client_ca: operators.pem}
listen: {admin: "0.0.0.0:8003"}
limits: {total: {rate: 50000/s}}
access: {keys: keys.json}
health: {interval: 5s}
breaker: {consecutive_failures: 5}
drain: {delay: 5s}
log: {format: json}
models:
  fraud: {deadline: 50ms}
""",
    "listen": """
listen:
  grpc: unix:/run/modelward/grpc.sock
  mode: "0660"
  http: 0.0.0.0:8002
  admin: unix:/run/modelward/admin.sock
""",
    "upstream_tls": """
upstreams: ["10.0.0.5:8001"]
upstream_tls:
  ca: ca.pem
  certificate: client.pem
  key: client.key
  server_name: triton.internal
""",
    "tls": """
tls:
  certificate: server.pem
  key: server.key
  client_ca: clients.pem
  require_client_certificate: true
""",
    "admin_tls": """
listen: {admin: "0.0.0.0:8003"}
admin_tls:
  certificate: server.pem
  key: server.key
  client_ca: operators.pem
""",
    "access": """
tls: {certificate: server.pem, key: server.key, client_ca: clients.pem}
access:
  certificates: true
  jwt: {issuer: "https://issuer.example", audience: models, jwks: "https://issuer.example/keys"}
  keys: keys.json
  forward_credentials: false
  rules:
    - {identity: team-a, models: ["fraud*"]}
""",
    "access.jwt": """
access:
  jwt:
    issuer: https://issuer.example
    audience: [models]
    jwks: https://issuer.example/keys
    ca: issuer-ca.pem
    algorithms: [RS256, ES256]
    identity: sub
    leeway: 30s
    refresh: 5m
    max_stale: 24h
  rules:
    - {identity: "*", models: ["*"]}
""",
    "access.rules[]": """
access:
  keys: keys.json
  rules:
    - identity: "spiffe://prod/*"
      by: certificate
      models: ["fraud*", credit]
    - identity: ops
      by: [key, token]
      models: ["*"]
      methods: [infer, stream, metadata, statistics, repository]
    - anonymous: true
      models: [demo]
""",
    "health": """
health:
  interval: 5s
  timeout: 1s
  startup: 30s
  refresh: 30s
""",
    "breaker": """
breaker:
  consecutive_failures: 5
  success_rate: 0.5
  min_requests: 20
  window: 10s
  ejection: 10s
  max_ejection: 5m
  max_inflight: 1024
""",
    "limits": """
limits:
  peer: {rate: 2000/s, burst: 500}
  identity: {rate: 1000/s}
  total: {rate: 50000/s, burst: 5000}
  shared: redis://10.0.0.7:6379/0
  message_size: 16MiB
  inflight_bytes: 256MiB
  inflight_share: 0.5
  connections: {per_peer: 1000}
  ipv6: {prefix: 64}
  streams: 128
  timeouts: {request: 30s}
""",
    "limits.peer": """
limits:
  peer:
    rate: 2000/s
    burst: 500
    overrides:
      10.0.0.0/8: {rate: 20000/s}
---
limits:
  peer:
    time: 250ms/s          # of the backend
    burst: 50ms
""",
    "limits.peer.overrides.NAME": """
limits:
  peer:
    rate: 2000/s
    overrides:
      10.0.0.0/8: {rate: 20000/s, burst: 5000}
      192.0.2.7: {time: 250ms/s, burst: 50ms}
""",
    "limits.identity": """
access: {keys: keys.json}
limits:
  identity:
    time: 500ms/s          # of the backend
    burst: 100ms
    priority: 5-9
    overrides:
      batch: {priority: 20}
---
access: {keys: keys.json}
limits:
  identity: {rate: 1000/s}
""",
    "limits.identity.overrides.NAME": """
access: {keys: keys.json}
limits:
  identity:
    rate: 1000/s
    overrides:
      "spiffe://prod/*": {rate: 5000/s, burst: 500, weight: 4, priority: 2-7, by: certificate}
      batch: {time: 200ms/s, priority: 20}
""",
    "limits.total": """
limits:
  total:
    rate: 50000/s
    burst: 5000
---
limits:
  total: {time: 2s/s}      # two backends, always busy
""",
    "limits.shared": """
limits:
  shared:
    url: rediss://10.0.0.7:6379/0
    password_file: redis.password
    interval: 100ms
    prefix: modelward
""",
    "limits.connections": """
limits:
  connections:
    total: 20000
    per_peer: 1000
    rate_per_peer: 200/s
""",
    "limits.ipv6": """
limits:
  ipv6:
    prefix: 56
    peers: 16
""",
    "limits.timeouts": """
limits:
  timeouts:
    handshake: 5s
    request: 30s
    idle_stream: 5m
    idle_connection: 1h
    stalled: 30s
""",
    "drain": """
drain:
  delay: 5s
  timeout: 20s
""",
    "log": """
log:
  format: json
  level: info
""",
    "models.NAME": """
repository: ./models
models:
  fraud:
    deadline: 50ms
    limit: {rate: 5000/s, burst: 500}
    admission: {concurrency: adaptive}
    batching: {max: 256}
    run_memory: 1GiB
    fallback:
      - last_good: {}
      - value: {probabilities: [[0.5, 0.5]]}
    anomaly: {mode: tag}
    canary: {interval: 5m}
    versions: {1: 90, 2: 10}
    version_policy: newest
    promotion: {hold: 5m}
    shadow: {version: 2}
  ranking:
    upstreams: ["10.0.0.5:8001", "dns:///triton:8001"]
    upstream_tls: {ca: ca.pem}
    hedging: {budget: 0.05}
    retries: {unanswered: true}
    signature:
      inputs: [{name: x, datatype: FP32, shape: [-1, 30]}]
      outputs: [{name: score, datatype: FP32, shape: [-1, 1]}]
""",
    "models.NAME.upstream_tls": """
models:
  fraud:
    upstreams: ["10.0.0.5:8001"]
    upstream_tls:
      ca: ca.pem
      certificate: client.pem
      key: client.key
      server_name: triton.internal
""",
    "models.NAME.hedging": """
models:
  fraud:
    upstreams: ["10.0.0.5:8001", "10.0.0.6:8001"]
    hedging: {budget: 0.05}
""",
    "models.NAME.retries": """
models:
  fraud:
    upstreams: ["10.0.0.5:8001", "10.0.0.6:8001"]
    retries: {unanswered: true}
""",
    "models.NAME.signature": """
models:
  fraud:
    upstreams: ["10.0.0.5:8001"]
    signature:
      inputs: [{name: x, datatype: FP32, shape: [-1, 30]}]
      outputs: [{name: probabilities, datatype: FP32, shape: [-1, 2]}]
""",
    "models.NAME.signature.inputs[]": _SIGNATURE,
    "models.NAME.signature.outputs[]": _SIGNATURE,
    "models.NAME.limit": """
models:
  fraud:
    limit:
      rate: 5000/s
      burst: 500
---
models:
  fraud:
    limit: {time: 500ms/s}
""",
    "models.NAME.admission": """
models:
  fraud:
    admission:
      concurrency: 16
      queue: 1024
      priority_across_identities: false
""",
    "models.NAME.batching": """
models:
  fraud:
    batching: {max: 256}
""",
    "models.NAME.fallback[]": """
models:
  fraud:
    fallback:
      - last_good: {max_age: 5m}
      - model: fraud-lite
      - value: {label: [0], probabilities: [[0.5, 0.5]]}
""",
    "models.NAME.fallback[].last_good": """
models:
  fraud:
    fallback:
      - last_good:
          entries: 1024
          max_age: 5m
          memory: 16MiB
""",
    "models.NAME.anomaly": """
models:
  fraud:
    anomaly:
      profile: profile.npz
      mode: reject
      false_positive_rate: 0.001
      unscored: refuse
""",
    "models.NAME.canary": """
models:
  fraud:
    canary: {interval: 5m}
""",
    "models.NAME.promotion": """
models:
  fraud:
    promotion:
      steps: [1, 10, 50, 100]
      by: caller
      hold: 5m
      min_requests: 1000
      bounds: {errors: 0.01}
""",
    "models.NAME.promotion.bounds": """
models:
  fraud:
    promotion:
      bounds:
        errors: 0.01
        fallbacks: 0.01
        latency: 1.5
        outputs: 0.25
""",
    "models.NAME.shadow[]": """
access: {keys: keys.json}
models:
  fraud:
    shadow:
      - version: 2
        fraction: 0.2
        only: {identity: "team-*"}
        warmup: 100
        deadline: 1s
        concurrency: 64
        inflight_bytes: 64MiB
        tolerance: 0.001
        bounds: {disagreement: 0.005}
        samples: true
      - upstreams: ["10.0.0.9:8001"]
        upstream_tls: {ca: ca.pem}
""",
    "models.NAME.shadow[].upstream_tls": """
models:
  fraud:
    shadow:
      upstreams: ["10.0.0.9:8001"]
      upstream_tls:
        ca: ca.pem
        certificate: client.pem
        key: client.key
        server_name: triton.internal
""",
    "models.NAME.shadow[].only": """
access: {keys: keys.json}
models:
  fraud:
    shadow:
      version: 2
      only:
        identity: ["team-*"]
        by: key
        anomalous: false
""",
    "models.NAME.shadow[].bounds": """
models:
  fraud:
    shadow:
      version: 2
      bounds:
        disagreement: 0.005
        errors: 0.005
        latency: 1.5
""",
}
