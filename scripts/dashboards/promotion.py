"""Is the new version as good as the old one, and how far is it?"""

from scripts.dashboards.board import MODEL, OF_MODEL, SERVERS, Board, Panel, Query, Row, gauge, quantile, rate, share

BY_SHADOW = "model, version, shadow"
ASKED = rate("modelward_requests_total", "model, version", f'{OF_MODEL},version!=""')
FAILED = rate("modelward_requests_total", "model, version", f'{OF_MODEL},version!="",code!="OK"')
NAMED = "{{model}} {{version}} / {{shadow}}"

PROMOTION = Board(
    "modelward-promotion",
    "Modelward: shadow and promotion",
    "Whether a new version is as good as the one that answers, and how far its promotion is.",
    [
        Row(
            "Versions that answer",
            [
                Panel(
                    "Shares",
                    "Of the requests without a version.",
                    [
                        Query(
                            gauge("modelward_version_share", "model, version", OF_MODEL, how="max"),
                            "{{model}} {{version}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Requests by version",
                    "Does the new one get its share?",
                    [Query(rate("modelward_requests_total", "model, version", OF_MODEL), "{{model}} {{version}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Failures by version",
                    "Share of the requests of a version that end in an error.",
                    [
                        Query(
                            share(f"({FAILED} or 0 * {ASKED})", ASKED),
                            "{{model}} {{version}}",
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Time by version, p99",
                    "Is the new one slower?",
                    [
                        Query(
                            quantile(0.99, "modelward_request_seconds", "model, version", f'{OF_MODEL},outcome="ok"'),
                            "{{model}} {{version}}",
                        )
                    ],
                    unit="s",
                ),
                Panel(
                    "Canaries",
                    "Runs, passed or failed.",
                    [
                        Query(
                            rate("modelward_canary_runs_total", "model, version, result", OF_MODEL),
                            "{{model}} {{version}}: {{result}}",
                        )
                    ],
                ),
                Panel(
                    "Drift",
                    "1 while inputs or outputs of a version are not what they were.",
                    [
                        Query(
                            gauge("modelward_drift", "model, version, side", OF_MODEL, how="max"),
                            "{{model}} {{version}} {{side}}",
                        )
                    ],
                    bad_from=1,
                ),
            ],
        ),
        Row(
            "Promotions",
            [
                Panel(
                    "Ended",
                    "Since the servers started: done, or rolled back by the bound that was broken.",
                    [Query(gauge("modelward_promotions_total", "model, outcome, reason", OF_MODEL))],
                    "table",
                    width=12,
                ),
                Panel(
                    "Taken back last",
                    "When the server itself took a promotion back.",
                    [
                        Query(
                            f"max by (model) (modelward_promotion_rolled_back_timestamp_seconds{{{OF_MODEL}}}) * 1000",
                            "{{model}}",
                        )
                    ],
                    "number",
                    "dateTimeFromNow",
                    width=6,
                ),
                Panel(
                    "Not saved",
                    "1: a restart would undo a promotion.",
                    [Query(f"max(modelward_state_unsaved{{{SERVERS}}})")],
                    "number",
                    bad_from=1,
                    width=6,
                ),
            ],
        ),
        Row(
            "Shadows",
            [
                Panel(
                    "Verdict",
                    "On each shadow, now.",
                    [Query(f"max by ({BY_SHADOW}, verdict) (modelward_shadow_verdict{{{OF_MODEL}}}) == 1")],
                    "table",
                ),
                Panel(
                    "Pairs",
                    "Requests that both have answered, or one, or none.",
                    [Query(rate("modelward_shadow_pairs_total", "outcome", OF_MODEL), "{{outcome}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Not mirrored",
                    "Why requests make no pair.",
                    [Query(rate("modelward_shadow_dropped_total", "reason", OF_MODEL), "{{reason}}")],
                    "stacked",
                    "reqps",
                ),
                Panel(
                    "Disagreement",
                    "Mean of compared pairs: 0 is none, 1 is everything.",
                    [
                        Query(
                            f"{rate('modelward_shadow_disagreement_total', BY_SHADOW, OF_MODEL)} / "
                            + rate("modelward_shadow_pairs_total", BY_SHADOW, f'{OF_MODEL},outcome="compared"'),
                            NAMED,
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Pairs that disagree",
                    "Share of compared pairs that disagree in something.",
                    [
                        Query(
                            f"{rate('modelward_shadow_disagreeing_pairs_total', BY_SHADOW, OF_MODEL)} / "
                            + rate("modelward_shadow_pairs_total", BY_SHADOW, f'{OF_MODEL},outcome="compared"'),
                            NAMED,
                        )
                    ],
                    unit="percentunit",
                ),
                Panel(
                    "Not comparable",
                    "Outputs and numbers, by kind.",
                    [Query(rate("modelward_shadow_mismatches_total", "kind", OF_MODEL), "{{kind}}")],
                ),
                Panel(
                    "Time to the answer, p99",
                    "Of the model (primary) and of the shadow.",
                    [
                        Query(
                            quantile(0.99, "modelward_shadow_answer_seconds", f"{BY_SHADOW}, side", OF_MODEL),
                            f"{NAMED} {{{{side}}}}",
                        )
                    ],
                    unit="s",
                ),
                Panel(
                    "Time to the answer, median",
                    "Of the model (primary) and of the shadow.",
                    [
                        Query(
                            quantile(0.5, "modelward_shadow_answer_seconds", f"{BY_SHADOW}, side", OF_MODEL),
                            f"{NAMED} {{{{side}}}}",
                        )
                    ],
                    unit="s",
                ),
                Panel(
                    "Samples lost",
                    "Of pairs that disagree, which could not be written.",
                    [Query(rate("modelward_shadow_samples_lost_total", "instance"), "{{instance}}")],
                ),
            ],
        ),
    ],
    [MODEL],
)
