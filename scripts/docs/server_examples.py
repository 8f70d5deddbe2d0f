"""Examples for the sections of the configuration that are not about one model."""

EXAMPLES = {
    "": """
repository: ./models          # NAME/VERSION/model.onnx
workers: auto
strict: false
load_timeout: 2m
scan: {refuse: critical}
watch: true
upstreams: ["triton:8001"]    # and every model that this server lists
upstream_tls: {ca: ca.pem}
trusted_proxies: [10.0.0.0/8, "unix:"]
passthrough: false
state: /var/lib/modelward
fleet: redis://10.0.0.7:6379/0
version_policy: promoted
sticky_header: x-user
tls: {certificate: server.pem, key: server.key}
admin_tls: {certificate: server.pem, key: server.key, client_ca: operators.pem}
listen: {admin: "0.0.0.0:8003"}
limits: {total: {rate: 50000/s}}
access: {keys: keys.json}
operators: {bindings: [{certificate: alice.example, roles: administrator}]}
audit: {checkpoint: 30s}
approvals: {promote: 1, reload: 0}    # state stands here
sealing: {identities: [{file: model.key}]}
integrity: {require: warn, keys: {release: release.pem}}
health: {interval: 5s}
breaker: {consecutive_failures: 5}
detection: {identities: 1048576}
drain: {delay: 5s}
access_log: {sample: 0.01, file: access.jsonl}
observations: {memory: 4MiB}
metrics: {identities: [team-a]}
log: {format: json}
models:
  fraud: {deadline: 50ms}
""",
    "detection": """
detection: {identities: 4194304}
""",
    "scan": """
scan: {refuse: high}
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
    "audit": """
audit:
  folder: /var/lib/modelward/audit
  checkpoint: 30s
  name: fraud-1
  postgres: "postgresql:///audit?host=/run/postgresql"
  witnesses: [{folder: /mnt/elsewhere/witnessed}]
  retention: {days: 400}
""",
    "audit.retention": """
audit:
  retention:
    days: 400
    legal_hold: [{model: fraud}]
""",
    "audit.retention.legal_hold[]": """
audit:
  retention:
    days: 400
    legal_hold:
      - model: "fraud*"
        actor: "alice@*"
        since: "2026-01-01T00:00:00Z"
        until: "2026-04-01T00:00:00Z"
        reason: case 4711
""",
    "audit.postgres": """
audit:
  postgres:
    url: postgresql://modelward@db.example/audit
    password_file: /run/credentials/modelward.service/audit-password
    schema_name: modelward_audit
    timeout: 5s
""",
    "fleet": """
fleet:
  url: rediss://store.example:6380/0
  password_file: /run/credentials/modelward.service/fleet-password
  name: modelward
  replica: server-1
  interval: 500ms
""",
    "audit.witnesses[]": """
audit:
  witnesses:
    - url: https://witness.example/
      key: "modelward-witness+b87f9129+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
      token_file: /run/credentials/modelward.service/witness-token
      certificate_authority: authority.pem
    - {folder: /mnt/elsewhere/witnessed}
    - {webhook: "https://alerts.example/audit"}
""",
    "access_log": """
access_log:
  sample: 0.05
  file: /var/log/modelward/access.jsonl
---
access_log:
  otlp: http://127.0.0.1:4318/v1/logs
""",
    "observations": """
observations:
  memory: 16MiB
  message: 256KiB
""",
    "sealing": """
sealing:
  identities:
    - file: /run/credentials/modelward.service/model-key
    - environment: MODEL_KEY
    - command: [gcloud, kms, decrypt, --key=models, --keyring=prod, --location=europe-west1,
                --ciphertext-file=/etc/modelward/model.key.enc, --plaintext-file=-]
  require: ["fraud*"]
""",
    "sealing.identities[]": """
sealing:
  identities:
    - file: model.key
    - environment: MODEL_KEY
    - command: [vault, kv, get, -field=identity, secret/model-key]
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
    "operators": """
listen: {admin: "unix:/run/modelward/admin.sock"}
operators:
  tokens:
    - {issuer: "https://issuer.example", audience: modelward-admin, jwks: "https://issuer.example/keys"}
  bindings:
    - {user: alice, roles: [administrator, approver]}
    - {group: ml-ops, roles: [oncall]}
    - {token: "*@example.com", roles: [viewer]}
  roles:
    oncall: [operator, viewer]
    release-bot: [promote, rollback, status]
  common_name: true
  break_glass: [oncall]
""",
    "approvals": """
listen: {admin: "unix:/run/modelward/admin.sock"}
operators:
  bindings:
    - {user: alice, roles: [deployer]}
    - {user: bob, roles: [approver]}
approvals:
  promote: 1
  force: 2
  rollback: 0
  pardon: 0
  accept: 0
  breaker: 0
  reload: 1
  restart: 0
  expire: 24h
  keys: {bob: MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=}
  people: {bob: [bob@example.com, ops-bob]}
""",
    "operators.tokens[]": """
operators:
  tokens:
    - issuer: https://issuer.example
      audience: [modelward-admin]
      jwks: https://issuer.example/keys
      ca: issuer-ca.pem
      algorithms: [ES256]
      identity: email
      leeway: 30s
      refresh: 5m
      max_stale: 1h
  bindings:
    - {token: "*@example.com", roles: [viewer]}
""",
    "operators.bindings[]": """
listen: {admin: "0.0.0.0:8003"}
admin_tls: {certificate: server.pem, key: server.key, client_ca: operators.pem}
operators:
  tokens:
    - {issuer: "https://issuer.example", audience: modelward-admin, jwks: "https://issuer.example/keys"}
  bindings:
    - certificate: "spiffe://prod/ops/*"
      roles: [operator, viewer]
    - token: alice@example.com
      issuer: https://issuer.example
      roles: [deployer]
      models: ["fraud-*"]
---
listen: {admin: "unix:/run/modelward/admin.sock"}
operators:
  bindings:
    - {user: alice, roles: [administrator]}
    - {group: 2000, roles: [viewer]}
""",
    "integrity": """
integrity:
  require: true
  keys: {release: /etc/modelward/release.pem, research: /etc/modelward/research.pem}
  certificates: {ca: signers-ca.pem, identities: ["*@ml.example.com"]}
  sigstore:
    trust_root: trusted_root.json
    identities: [{identity: ci@example.com, issuer: "https://accounts.example.com"}]
  signers:
    fraud-*: [release, "*@ml.example.com"]
  names: accept
  interval: 1h
""",
    "integrity.certificates": """
integrity:
  certificates:
    ca: signers-ca.pem
    identities: ["release@example.com", "spiffe://prod/training/*"]
""",
    "integrity.sigstore": """
integrity:
  sigstore:
    trust_root: trusted_root.json
    identities:
      - identity: ci@example.com
        issuer: https://accounts.example.com
""",
    "integrity.sigstore.identities[]": """
integrity:
  sigstore:
    trust_root: trusted_root.json
    identities:
      - identity: https://github.com/example/models/.github/workflows/release.yml@refs/heads/main
        issuer: https://token.actions.githubusercontent.com
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
    "metrics": """
metrics:
  identities: [team-a, team-b]
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
}
