"""Who uses how much, and who is refused?"""

from scripts.dashboards.board import RATE, SERVERS, Board, Panel, Query, Row, Variable, gauge, quantiles, rate, share

OF_IDENTITY = f'{SERVERS},identity=~"$identity"'
BACKEND_TIME = rate("modelward_identity_backend_seconds_total", "identity", OF_IDENTITY)
IDENTITY = Variable("identity", "Identity", f"label_values(modelward_identity_requests_total{{{SERVERS}}}, identity)")

TENANT = Board(
    "modelward-tenant",
    "Modelward: tenant",
    "Who uses how much, and who is refused. Identities that metrics.identities names are shown by name.",
    [
        Row(
            "Identities by name",
            [
                Panel(
                    "Requests",
                    "That passed the limits, estimated from one in 64.",
                    [Query(rate("modelward_identity_requests_total", "identity", OF_IDENTITY), "{{identity}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Backend time",
                    "Seconds of backends in a second, estimated from one request in 64.",
                    [Query(rate("modelward_identity_backend_seconds_total", "identity", OF_IDENTITY), "{{identity}}")],
                    "stacked",
                    "s",
                ),
                Panel(
                    "Refused by a limit",
                    "Which limit is too small, or which tenant too busy?",
                    [
                        Query(
                            rate("modelward_identity_refusals_total", "identity, limit", OF_IDENTITY),
                            "{{identity}}: {{limit}}",
                        )
                    ],
                    unit="reqps",
                ),
                Panel(
                    "Denied",
                    "Calls without the right to make them.",
                    [Query(rate("modelward_identity_denied_total", "identity", OF_IDENTITY), "{{identity}}")],
                    unit="reqps",
                ),
                Panel(
                    "Anomalous",
                    "Requests that were flagged.",
                    [Query(rate("modelward_identity_anomalies_total", "identity", OF_IDENTITY), "{{identity}}")],
                    unit="reqps",
                ),
                Panel(
                    "Shares of the backend",
                    "Who has how much of the backend time of all that are named.",
                    [
                        Query(
                            f"{BACKEND_TIME} / on () group_left () "
                            f"sum(rate(modelward_identity_backend_seconds_total{{{SERVERS}}}[{RATE}]))",
                            "{{identity}}",
                        )
                    ],
                    unit="percentunit",
                ),
            ],
        ),
        Row(
            "All callers",
            [
                Panel(
                    "Refused by limits",
                    "Of all callers, by the limit.",
                    [
                        Query(
                            rate(
                                "modelward_refusals_total",
                                "reason",
                                f'{SERVERS},reason=~"(PEER|IDENTITY|MODEL|TOTAL)_LIMIT"',
                            ),
                            "{{reason}}",
                        )
                    ],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Credentials",
                    "Known already, checked now, or refused.",
                    [Query(rate("modelward_access_credentials_total", "result"), "{{result}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Identities",
                    "That are known.",
                    [Query(gauge("modelward_access_identities", "instance"), "{{instance}}")],
                ),
                Panel(
                    "Places in the table of limits",
                    "Share that is taken. When it is full, all further callers share a limit.",
                    [
                        Query(
                            share(
                                gauge("modelward_limit_cells", "instance"),
                                gauge("modelward_limit_cells_capacity", "instance"),
                            ),
                            "{{instance}}",
                        )
                    ],
                    unit="percentunit",
                    bad_from=0.9,
                ),
                Panel(
                    "Identities by step",
                    "That detection remembers. All but observe and tag change answers where the mode is act.",
                    [Query(gauge("modelward_detection_identities", "step"), "{{step}}")],
                ),
                Panel(
                    "Requests at a step",
                    "Of callers that are suspected or restricted.",
                    [Query(rate("modelward_detection_requests_total", "step"), "{{step}}")],
                    "stacked",
                    "reqps",
                ),
            ],
        ),
        Row(
            "Limits that servers share",
            [
                Panel(
                    "The store answers",
                    "0: each server holds its limits alone.",
                    [Query(gauge("modelward_shared_limits_up", "instance", how="min"), "{{instance}}")],
                ),
                Panel(
                    "Exchanges with the store",
                    "By result.",
                    [Query(rate("modelward_shared_limits_syncs_total", "result"), "{{result}}")],
                    "stacked",
                ),
                Panel(
                    "Time of an exchange",
                    "Is the store near enough?",
                    quantiles("modelward_shared_limits_round_trip_seconds"),
                    unit="s",
                ),
            ],
        ),
    ],
    [IDENTITY],
)
