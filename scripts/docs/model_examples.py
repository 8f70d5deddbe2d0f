"""Examples for the settings of one model."""

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
    "models.NAME": """
integrity: {require: warn, keys: {release: release.pem}}
listen: {admin: "unix:/run/modelward/admin.sock"}
operators: {bindings: [{user: bob, roles: approver}]}
approvals: {promote: 1}
repository: ./models
models:
  fraud:
    deadline: 50ms
    objective: {success: 0.9995, latency: 25ms}
    limit: {rate: 5000/s, burst: 500}
    admission: {concurrency: adaptive}
    batching: {max: 256}
    run_memory: 1GiB
    fallback:
      - last_good: {}
      - value: {probabilities: [[0.5, 0.5]]}
    anomaly: {mode: tag}
    outputs: {probabilities: {classes: true}}
    detection: {mode: observe}
    canary: {interval: 5m}
    capture: {share: 0.05}
    drift: {share: 0.2}
    scan: {refuse: high}
    integrity: {require: true}
    versions: {1: 90, 2: 10}
    version_policy: newest
    promotion: {hold: 5m}
    approvals: {promote: 2}
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
    "models.NAME.capture": """
models:
  fraud:
    capture:
      folder: /var/lib/modelward/capture
      share: 0.05
      features: {account: hash, name: leave_out, "x[3]": leave_out}
      quarantine: {evidence: 5}
      retention: {days: 90}
      file_size: 64MiB
      file_age: 15m
""",
    "models.NAME.capture.quarantine": """
models:
  fraud:
    capture:
      quarantine: {flagged: true, p_value: 0.01, evidence: 5, restricted: true}
""",
    "models.NAME.capture.retention": """
models:
  fraud:
    capture:
      retention: {days: 90, size: 100GiB}
""",
    "models.NAME.detection": """
access: {keys: keys.json, rules: [{identity: "*", models: ["*"]}]}
models:
  fraud:
    detection:
      mode: act
      strongest: fallback
      labelled: false
      budget: 20000
      near_duplicates: restrict
      delay: 2s
      block: 10m
      identities:
        "sensor-*": {near_duplicates: allow}
""",
    "models.NAME.detection.identities.NAME": """
access: {keys: keys.json, rules: [{identity: "*", models: ["*"]}]}
models:
  fraud:
    detection:
      mode: act
      identities:
        "sensor-*": {near_duplicates: allow, by: key}
        partner: {mode: observe, strongest: round, labelled: true, budget: 100000}
""",
    "models.NAME.objective": """
models:
  fraud:
    objective:
      success: 0.9995
      latency: 25ms
      in_time: 0.99
""",
    "models.NAME.drift": """
models:
  fraud:
    drift:
      share: 0.2
      false_alarms: 1 in 100000000 requests
      tolerance: 0.01
      training_tolerance: 0.2
      gates_promotions: false
""",
    "models.NAME.scan": """
models:
  fraud:
    scan: {refuse: medium}
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
    "models.NAME.outputs.NAME": """
models:
  fraud:
    outputs:
      probabilities:
        classes: true
        finite: true
        range: [0, 1]
        sum: 1
        tolerance: 0.01
        mean: {change: 0.02}
        on_violation: fallback
      approved:
        range: [0, 1]
        budget: {label: 1, at_most: 100, window: 1m}
      amount:
        finite: true
        range: [0, null]
        not_above: requested
        not_below: least
        rises_with: features[3]
        falls_with: debts
        on_violation: {finite: fallback, range: clip, not_above: clip}
""",
    "models.NAME.outputs.NAME.budget[]": """
models:
  fraud:
    outputs:
      approved:
        budget:
          - {label: 1, at_most: 100, each: 10, window: 1m}
          - {label: 1, share: 0.2, window: 1h}
      amount:
        budget:
          - {at_most: 250000, window: 24h}
          - {above: 10000, at_most: 10}
""",
    "models.NAME.outputs.NAME.mean": """
models:
  fraud:
    outputs:
      probabilities:
        mean: {window: 1m, rows: 100, change: 0.02, false_alarms: 100000, column: 1}
        on_violation: {mean: flag}
""",
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
  ranking:
    upstreams: ["10.0.0.5:8001"]
    canary: {file: ranking.canary.npz, interval: 5m}
---
models:
  fraud:
    canary: {interval: 5m}
""",
    "models.NAME.integrity": """
integrity: {require: warn, keys: {release: release.pem, research: research.pem}}
models:
  fraud:
    integrity:
      require: true
      signers: [release]
""",
    "models.NAME.approvals": """
listen: {admin: "unix:/run/modelward/admin.sock"}
operators:
  bindings:
    - {user: bob, roles: [approver]}
approvals: {promote: 1}
models:
  fraud:
    approvals:
      promote: 2
      force: 3
      rollback: 0
      pardon: 1
      accept: 1
      breaker: 1
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
