"""What do strangers and suspects try, and what holds them back?"""

from scripts.dashboards.board import SERVERS, Board, Panel, Query, Row, gauge, rate, share

LIMITS = f'{SERVERS},reason=~"(PEER|IDENTITY|MODEL|TOTAL|CREDENTIALS)_LIMIT|INFLIGHT_BYTES|RELAYED_STREAMS"'
MISTAKES = (
    f'{SERVERS},reason=~"MALFORMED_.*|INVALID_INPUT|UNKNOWN_.*|UNSUPPORTED_.*|HEADERS_TOO_LARGE|MESSAGE_TOO_LARGE'
    '|INFLATED_TOO_LARGE|SLOW_REQUEST|REQUEST_CARDINALITY"'
)
RIGHTS = f'{SERVERS},reason=~"UNAUTHENTICATED|PERMISSION_DENIED|ACCESS_BUSY|CREDENTIALS_LIMIT"'

ATTACK = Board(
    "modelward-attack",
    "Modelward: attack",
    "What strangers and suspects try, and what holds them back.",
    [
        Row(
            "What is refused",
            [
                Panel(
                    "By limits",
                    "Who sends too much is refused.",
                    [Query(rate("modelward_refusals_total", "reason", LIMITS), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "What is malformed, unknown or too large",
                    "Probes and broken clients.",
                    [Query(rate("modelward_refusals_total", "reason", MISTAKES), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Without a right",
                    "Missing or wrong credentials.",
                    [Query(rate("modelward_refusals_total", "reason", RIGHTS), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Honest requests",
                    "That are answered meanwhile: this line should not sink.",
                    [Query(rate("modelward_requests_total", "model", f'{SERVERS},code="OK"'), "{{model}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Models that do not exist",
                    "Requests for names that are not served.",
                    [Query(rate("modelward_requests_total", "code", f'{SERVERS},model="_other"'), "{{code}}")],
                    unit="reqps",
                ),
                Panel(
                    "Credentials",
                    "Refused ones, and those that are known to be bad.",
                    [Query(rate("modelward_access_credentials_total", "result"), "{{result}}")],
                    "stacked",
                    "reqps",
                ),
            ],
        ),
        Row(
            "Connections",
            [
                Panel(
                    "Refused on arrival",
                    "By reason.",
                    [Query(rate("modelward_connections_refused_total", "reason"), "{{reason}}")],
                    "stacked",
                    "cps",
                ),
                Panel(
                    "Closed by the server",
                    "Floods, slow clients, what is not HTTP/2.",
                    [
                        Query(
                            rate("modelward_connections_closed_total", "reason", f'{SERVERS},reason!="idle"'),
                            "{{reason}}",
                        )
                    ],
                    "stacked",
                    "cps",
                ),
                Panel(
                    "TLS handshakes that failed",
                    "By server.",
                    [Query(rate("modelward_tls_handshake_failures_total", "instance"), "{{instance}}")],
                    unit="cps",
                ),
                Panel(
                    "Open connections",
                    "By server.",
                    [Query(gauge("modelward_connections", "instance"), "{{instance}}")],
                ),
                Panel(
                    "Bytes in flight",
                    "What requests and unread answers hold.",
                    [Query(gauge("modelward_inflight_bytes", "instance"), "{{instance}}")],
                    unit="bytes",
                ),
                Panel(
                    "Peers and identities that are tracked",
                    "A sudden rise comes from many addresses.",
                    [Query(gauge("modelward_limit_cells", "instance"), "{{instance}}")],
                ),
            ],
        ),
        Row(
            "Theft and evasion",
            [
                Panel(
                    "Identities by step",
                    "That detection remembers.",
                    [Query(gauge("modelward_detection_identities", "step"), "{{step}}")],
                ),
                Panel(
                    "Came to a step",
                    "Up or down, by evidence or budget.",
                    [Query(rate("modelward_detection_steps_total", "step, signal"), "{{step}}: {{signal}}")],
                ),
                Panel(
                    "Requests at a step",
                    "Of callers that are suspected or restricted.",
                    [Query(rate("modelward_detection_requests_total", "step"), "{{step}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Held by operators",
                    "Identities at a step by hand.",
                    [Query(gauge("modelward_detection_restrictions", "instance"), "{{instance}}")],
                ),
                Panel(
                    "Learning",
                    "How far each model is in the phase before evidence counts.",
                    [
                        Query(
                            share(
                                gauge("modelward_detection_learning_rows", "model"),
                                gauge("modelward_detection_learning_rows_needed", "model"),
                            ),
                            "{{model}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Anomalous requests",
                    "By model.",
                    [Query(rate("modelward_anomalies_total", "model"), "{{model}}")],
                    "stacked",
                    "reqps",
                ),
            ],
        ),
        Row(
            "Crashes and operators",
            [
                Panel(
                    "Workers that died",
                    "By cause.",
                    [Query(f"sum by (cause) (increase(modelward_worker_deaths_total{{{SERVERS}}}[1h]))", "{{cause}}")],
                ),
                Panel(
                    "Inputs that are not run any more",
                    "Shapes that ended a worker.",
                    [Query(gauge("modelward_contained", "model, version"), "{{model}} {{version}}")],
                    bad_from=1,
                ),
                Panel(
                    "Operators that were denied",
                    "Calls of the admin API.",
                    [Query(rate("modelward_operator_calls_denied_total", "verb, cause"), "{{verb}}: {{cause}}")],
                ),
                Panel(
                    "Audit trail",
                    "1 while it can be written.",
                    [Query(gauge("modelward_audit_up", "instance", how="min"), "{{instance}}")],
                ),
                Panel(
                    "Files that have changed",
                    "Versions whose files on disk are others than those that are served.",
                    [Query(gauge("modelward_changed_versions", "instance"), "{{instance}}")],
                    bad_from=1,
                ),
                Panel(
                    "Findings of scans",
                    "In versions that are served, by severity.",
                    [Query(gauge("modelward_scan_findings", "severity"), "{{severity}}")],
                ),
            ],
        ),
    ],
)
