"""Which share of a model's requests each version has now, and what decides that."""

from __future__ import annotations

from collections.abc import Mapping

from modelward.config.schema import Config
from modelward.models.approved import admitted
from modelward.models.facts import FactsByVersion, run_here
from modelward.models.weights import Weights, fractions
from modelward.promotion.promoter import Promoter
from modelward.server.report import Report


def weights(config: Config, promoter: Promoter, report: Report) -> Weights:
    approved = promoter.state.may_answer
    return admitted(config, approved, promoter.shares, report.facts, report.versions)[0]


def shares(config: Config, promoter: Promoter, report: Report) -> dict[str, dict[str, float]]:
    """Of the requests that name no version, 0 to 1."""
    found = weights(config, promoter, report)
    return {name: fractions(v, found.get(name)) for name, v in report.versions.items() if report.decides(name, found)}


def acting_as_promoted(config: Config, facts: Mapping[str, FactsByVersion]) -> frozenset[str]:
    """Models whose version_policy is newest, and where no version answers before a promotion all the same."""
    return frozenset(name for name in policies(config, facts) if config.newest_is_promoted(name))


def policies(config: Config, facts: Mapping[str, FactsByVersion]) -> dict[str, str]:
    """Of models whose shares neither `versions:` nor an upstream decides."""
    here = run_here(facts)
    names = (name for name in facts if name in here or config.policy(name) == "promoted")
    return {name: config.policy(name) for name in names if config.settings(name).versions is None}
