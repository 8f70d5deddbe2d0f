"""Is everything in order, and if not, where?"""

from scripts.dashboards.board import RATE, SERVERS, Board, Panel, Query, Row, gauge, quantile, quantiles, rate, share

ANSWERED = f'{SERVERS},outcome=~"ok|fallback"'

SUCCESS = 'job=~"$job",objective="success"'

OVERVIEW = Board(
    "modelward-overview",
    "Modelward: overview",
    "Whether all servers are in order, and where not.",
    [
        Row(
            "Now",
            [
                Panel(
                    "Servers",
                    "That answered the last scrape.",
                    [Query(f"count(modelward_build_info{{{SERVERS}}})")],
                    "number",
                    width=3,
                ),
                Panel(
                    "Workers",
                    "That accept requests.",
                    [Query(f"sum(modelward_workers{{{SERVERS}}})")],
                    "number",
                    width=3,
                ),
                Panel(
                    "Requests",
                    "Per second, whatever came of them.",
                    [Query(f"sum(rate(modelward_requests_total{{{SERVERS}}}[{RATE}]))")],
                    "number",
                    "reqps",
                    width=3,
                ),
                Panel(
                    "Answered",
                    "Of the requests that got an answer or failed; refusals by limits are left out.",
                    [
                        Query(
                            f'sum(rate(modelward_requests_total{{{SERVERS},code="OK"}}[{RATE}])) / '
                            f'sum(rate(modelward_requests_total{{{SERVERS},code=~"OK|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE"}}[{RATE}]))'
                        )
                    ],
                    "number",
                    "percentunit",
                    width=3,
                ),
                Panel(
                    "In flight",
                    "Requests that have no answer yet.",
                    [Query(f"sum(modelward_inflight{{{SERVERS}}})")],
                    "number",
                    width=3,
                ),
                Panel(
                    "Connections",
                    "Open gRPC connections.",
                    [Query(f"sum(modelward_connections{{{SERVERS}}})")],
                    "number",
                    width=3,
                ),
                Panel(
                    "Alerts",
                    "That fire now.",
                    [Query('count(ALERTS{alertname=~"Modelward.*",alertstate="firing",job=~"$job"}) or vector(0)')],
                    "number",
                    bad_from=1,
                    width=3,
                ),
                Panel(
                    "Models refused",
                    "Versions in the repository that cannot be served.",
                    [Query(f"sum(modelward_models_refused{{{SERVERS}}})")],
                    "number",
                    bad_from=1,
                    width=3,
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    "Requests by code",
                    "What do clients get?",
                    [Query(rate("modelward_requests_total", "code"), "{{code}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Refusals by reason",
                    "Why is something refused?",
                    [Query(rate("modelward_refusals_total", "reason"), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Fallbacks by reason",
                    "Why does a fallback answer?",
                    [Query(rate("modelward_fallbacks_total", "reason"), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Requests by model",
                    "Which models are asked?",
                    [Query(rate("modelward_requests_total", "model"), "{{model}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Time to the answer",
                    "How long do clients wait?",
                    quantiles("modelward_request_seconds", ANSWERED),
                    unit="s",
                ),
                Panel(
                    "Error budget",
                    "How many times too fast is it used? Above 1 it lasts less than 30 days. From recording rules.",
                    [
                        Query(
                            share(
                                gauge(
                                    f"model:modelward_failures:ratio_rate{window}", "model", 'job=~"$job"', how="max"
                                ),
                                f"(1 - {gauge('modelward_objective_ratio', 'model', SUCCESS, how='min')})",
                            ),
                            f"{{{{model}}}}, {window}",
                        )
                        for window in ("5m", "1h", "6h")
                    ],
                    bad_from=1,
                ),
            ],
        ),
        Row(
            "Load",
            [
                Panel(
                    "Utilization",
                    "How much of each server is in use by what is answered? Autoscalers look at this.",
                    [Query(gauge("modelward_utilization", "instance", how="max"), "{{instance}}")],
                    unit="percentunit",
                    bad_from=0.9,
                ),
                Panel(
                    "Utilization by part",
                    "Which part of the busiest server is used most: permits, event loops, or backend time here?",
                    [Query(gauge("modelward_utilization_part", "of", how="max"), "{{of}}")],
                    unit="percentunit",
                    bad_from=0.9,
                ),
                Panel(
                    "Loops, with what is refused",
                    "Far above the utilization, an attack fills the event loops.",
                    [Query(gauge("modelward_loop_busy", "instance", how="max"), "{{instance}}")],
                    unit="percentunit",
                    bad_from=0.9,
                ),
                Panel(
                    "In flight",
                    "Requests without an answer, by server.",
                    [Query(gauge("modelward_inflight", "instance"), "{{instance}}")],
                ),
                Panel(
                    "Bytes in flight",
                    "What requests and unread answers hold; at most limits.inflight_bytes.",
                    [Query(gauge("modelward_inflight_bytes", "instance"), "{{instance}}")],
                    unit="bytes",
                ),
                Panel(
                    "Waiting for a model",
                    "Requests that wait for a permit: the model is the bottleneck.",
                    [Query(gauge("modelward_waiting", "model"), "{{model}}")],
                ),
                Panel("Connections", "By server.", [Query(gauge("modelward_connections", "instance"), "{{instance}}")]),
                Panel(
                    "CPU of the process that is scraped",
                    "Of the supervisor, or of the only process.",
                    [Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
                    unit="percentunit",
                ),
                Panel(
                    "Memory of the process that is scraped",
                    "Resident bytes.",
                    [Query(gauge("process_resident_memory_bytes", "instance"), "{{instance}}")],
                    unit="bytes",
                ),
            ],
        ),
        Row(
            "Upstreams",
            [
                Panel(
                    "Requests to upstreams",
                    "By endpoint.",
                    [Query(rate("modelward_upstream_requests_total", "endpoint"), "{{endpoint}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Failures of upstreams",
                    "Requests that they failed.",
                    [Query(rate("modelward_upstream_failures_total", "endpoint"), "{{endpoint}}")],
                    unit="reqps",
                ),
                Panel(
                    "Endpoints in service",
                    "Out of service: no connection, or an open breaker.",
                    [Query(gauge("modelward_upstream_available", "endpoint"), "{{endpoint}}")],
                ),
                Panel(
                    "Time of upstreams, p99",
                    "Which one is slow?",
                    [
                        Query(
                            quantile(0.99, "modelward_upstream_seconds", "endpoint"),
                            "{{endpoint}}",
                        )
                    ],
                    unit="s",
                ),
                Panel(
                    "Breakers",
                    "Endpoints by the state of their circuit breaker.",
                    [Query(gauge("modelward_upstream_breaker_state", "state"), "{{state}}")],
                ),
                Panel(
                    "Retries, hedges and failed connections",
                    "What the pool does about slow and lost upstreams.",
                    [
                        Query(rate("modelward_upstream_retries_total", "job"), "retries"),
                        Query(rate("modelward_upstream_hedges_total", "job"), "hedges"),
                        Query(rate("modelward_upstream_connect_failures_total", "job"), "failed connections"),
                    ],
                ),
            ],
        ),
        Row(
            "Server",
            [
                Panel(
                    "Workers that were replaced",
                    "Per hour, by reason: died, hung, or asked for.",
                    [
                        Query(
                            f"sum by (reason) (increase(modelward_worker_restarts_total{{{SERVERS}}}[1h]))",
                            "{{reason}}",
                        )
                    ],
                ),
                Panel(
                    "Reloads",
                    "Per hour, by result.",
                    [Query(f"sum by (result) (increase(modelward_reloads_total{{{SERVERS}}}[1h]))", "{{result}}")],
                ),
                Panel(
                    "Scrapes",
                    "What they cost: share of a core, and bytes of a page.",
                    [Query(rate("modelward_scrape_seconds_total", "instance"), "{{instance}}")],
                    unit="percentunit",
                ),
                Panel(
                    "Versions",
                    "What runs where.",
                    [Query(gauge("modelward_build_info", "instance, version, python, onnxruntime, nghttp2"))],
                    "table",
                    width=24,
                ),
            ],
        ),
    ],
)
