"""How well is a model served, and which stage takes the time?"""

from scripts.dashboards.board import (
    MODEL,
    OF_MODEL,
    Board,
    Panel,
    Query,
    Row,
    gauge,
    mean,
    quantile,
    quantiles,
    rate,
    share,
)

ANSWERED = f'{OF_MODEL},outcome=~"ok|fallback"'

MODELS = Board(
    "modelward-model",
    "Modelward: model",
    "How well models are served, and which stage takes the time.",
    [
        Row(
            "Objective",
            [
                Panel(
                    "Failures, 1 h",
                    "Share of the requests that the server owed an answer. Needs the recording rules.",
                    [
                        Query(
                            'max by (model) (model:modelward_failures:ratio_rate1h{job=~"$job",model=~"$model"})',
                            "{{model}}",
                        )
                    ],
                    "number",
                    "percentunit",
                    width=6,
                ),
                Panel(
                    "Late answers, 1 h",
                    "Share of the answers that took longer than the objective. Needs the recording rules.",
                    [
                        Query(
                            'max by (model) (model:modelward_late_answers:ratio_rate1h{job=~"$job",model=~"$model"})',
                            "{{model}}",
                        )
                    ],
                    "number",
                    "percentunit",
                    width=6,
                ),
                Panel(
                    "Objective: success",
                    "Share of the requests that is to be answered.",
                    [
                        Query(
                            f'min by (model) (modelward_objective_ratio{{{OF_MODEL},objective="success"}})', "{{model}}"
                        )
                    ],
                    "number",
                    "percentunit",
                    width=6,
                ),
                Panel(
                    "Objective: latency",
                    "Time within which an answer is in time.",
                    [Query(gauge("modelward_objective_latency_seconds", "model", OF_MODEL, how="min"), "{{model}}")],
                    "number",
                    "s",
                    width=6,
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    "Requests by code",
                    "What do clients get?",
                    [Query(rate("modelward_requests_total", "code", OF_MODEL), "{{code}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Requests by version",
                    "Which version answers?",
                    [Query(rate("modelward_requests_total", "model, version", OF_MODEL), "{{model}} {{version}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Refusals by reason",
                    "Why is something refused?",
                    [Query(rate("modelward_refusals_total", "reason", OF_MODEL), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Fallbacks by reason",
                    "Why does a fallback answer?",
                    [Query(rate("modelward_fallbacks_total", "reason", OF_MODEL), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Late results",
                    "Runs that ended when the client had another answer already.",
                    [Query(rate("modelward_late_results_total", "model", OF_MODEL), "{{model}}")],
                    unit="reqps",
                ),
                Panel(
                    "Rows",
                    "That were inferred, as Triton counts them.",
                    [Query(rate("nv_inference_count", "model", OF_MODEL), "{{model}}")],
                    unit="rps",
                ),
            ],
        ),
        Row(
            "Time",
            [
                Panel(
                    "Time to the answer",
                    "How long do clients wait?",
                    quantiles("modelward_request_seconds", ANSWERED),
                    unit="s",
                ),
                Panel(
                    "Time by outcome, p99",
                    "Are refusals fast?",
                    [Query(quantile(0.99, "modelward_request_seconds", "outcome", OF_MODEL), "{{outcome}}")],
                    unit="s",
                ),
                Panel(
                    "Time to the answer",
                    "How the times of all answers lie.",
                    [Query(rate("modelward_request_seconds_bucket", "le", ANSWERED))],
                    "heatmap",
                    "s",
                ),
                Panel(
                    "Mean time of a stage",
                    "Which stage takes the time?",
                    [Query(mean("modelward_stage_seconds", "stage", OF_MODEL), "{{stage}}")],
                    unit="s",
                ),
                Panel(
                    "Stages, p99",
                    "Which stage takes the time in the tail?",
                    [Query(quantile(0.99, "modelward_stage_seconds", "stage", OF_MODEL), "{{stage}}")],
                    unit="s",
                ),
                Panel(
                    "Backend time",
                    "What was charged in advance, and what it took, where limits are in backend time.",
                    [
                        Query(
                            rate("modelward_backend_time_predicted_seconds_total", "model", OF_MODEL),
                            "{{model}}, charged",
                        ),
                        Query(
                            rate("modelward_backend_time_taken_seconds_total", "model", OF_MODEL), "{{model}}, taken"
                        ),
                    ],
                    unit="percentunit",
                ),
            ],
        ),
        Row(
            "Admission and batching",
            [
                Panel(
                    "Waiting",
                    "Requests that wait for a permit.",
                    [Query(gauge("modelward_waiting", "model, version", OF_MODEL), "{{model}} {{version}}")],
                ),
                Panel(
                    "Permits",
                    "Requests that the backend may have at a time.",
                    [Query(gauge("modelward_concurrency_limit", "model, version", OF_MODEL), "{{model}} {{version}}")],
                ),
                Panel(
                    "Rows of a run",
                    "Do requests share runs?",
                    [Query(mean("modelward_batch_rows", "model", OF_MODEL), "{{model}}")],
                ),
            ],
        ),
        Row(
            "Inputs and outputs",
            [
                Panel(
                    "Anomalous requests",
                    "Share of the scored ones that were flagged.",
                    [
                        Query(
                            share(
                                rate("modelward_anomalies_total", "model", OF_MODEL),
                                rate("modelward_anomaly_score_count", "model", OF_MODEL),
                            ),
                            "{{model}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Anomaly score",
                    "Do all scores rise, or those of a few?",
                    [Query(rate("modelward_anomaly_score_bucket", "le", OF_MODEL))],
                    "heatmap",
                ),
                Panel(
                    "Not scored",
                    "Requests that could not be scored, or in part.",
                    [
                        Query(rate("modelward_unscored_total", "model", OF_MODEL), "{{model}}, not"),
                        Query(rate("modelward_partly_scored_total", "model", OF_MODEL), "{{model}}, in part"),
                    ],
                    unit="reqps",
                ),
                Panel(
                    "Evidence of drift",
                    "At 1 an alarm is raised.",
                    [
                        Query(
                            gauge("modelward_drift_evidence", "model, version, side", OF_MODEL, how="max"),
                            "{{model}} {{version}} {{side}}",
                        )
                    ],
                    bad_from=1,
                ),
                Panel(
                    "Output guards",
                    "Answers that were not as a guard says, by what came of it.",
                    [
                        Query(
                            rate("modelward_output_guard_violations_total", "output, guard, action", OF_MODEL),
                            "{{output}} {{guard}}: {{action}}",
                        )
                    ],
                    unit="reqps",
                ),
                Panel(
                    "Canaries",
                    "Workers in which a version fails its canary.",
                    [Query(gauge("modelward_canary_failing", "model, version", OF_MODEL), "{{model}} {{version}}")],
                    bad_from=1,
                ),
            ],
        ),
        Row(
            "Files",
            [
                Panel(
                    "Versions",
                    "Which files are served, and who has signed them.",
                    [Query(gauge("modelward_model_info", "model, version, digest, signer", OF_MODEL))],
                    "table",
                    width=16,
                ),
                Panel(
                    "In time",
                    "Answers within the objective's latency, per second.",
                    [
                        Query(
                            rate("instance_model:modelward_answers_in_time:total", "model", OF_MODEL),
                            "{{model}}",
                        )
                    ],
                    unit="reqps",
                ),
            ],
        ),
    ],
    [MODEL],
)
