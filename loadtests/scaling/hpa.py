"""Kubernetes' HorizontalPodAutoscaler for one metric per pod, as it is published.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details, and in its source
pkg/controller/podautoscaler: replica_calculator.go (calcPlainMetricReplicas) and horizontal.go (behaviours).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

SYNC_SECONDS = 15
TOLERANCE = 0.1


@dataclass(frozen=True)
class Policy:
    """So many pods, or so many percent of them, in so many seconds."""

    value: int
    seconds: int
    percent: bool = False

    def up(self, pods: int) -> int:
        return ceil(pods * (1 + self.value / 100)) if self.percent else pods + self.value

    def down(self, pods: int) -> int:
        return floor(pods * (1 - self.value / 100)) if self.percent else pods - self.value


@dataclass(frozen=True)
class Behaviour:
    """Of both directions the policy that allows most counts. The defaults are Kubernetes'."""

    up: tuple[Policy, ...] = (Policy(100, 15, percent=True), Policy(4, 15))
    down: tuple[Policy, ...] = (Policy(100, 15, percent=True),)
    up_window: int = 0
    down_window: int = 300


@dataclass
class Autoscaler:
    """Ask `wanted` every SYNC_SECONDS. target: of the mean over the pods."""

    target: float
    least: int = 1
    most: int = 20
    behaviour: Behaviour = field(default_factory=Behaviour)
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)  # pods added; removed below zero

    def wanted(self, now: float, pods: int, metrics: Sequence[float | None]) -> int:
        """How many pods there are to be. metrics: of each pod, None where it has none yet."""
        rules = self.behaviour
        if not self._recommended:
            self._recommended.append((now, pods))
        recommended = min(max(self.recommendation(pods, metrics), self.least), self.most)
        self._recommended.append((now, recommended))
        self._recommended = [
            (at, number)
            for at, number in self._recommended
            if at > now - max(rules.up_window, rules.down_window, SYNC_SECONDS)
        ]
        lowest = min([recommended, *self._since(now, rules.up_window)])
        highest = max([recommended, *self._since(now, rules.down_window)])
        stable = lowest if pods < lowest else highest if pods > highest else pods
        allowed = self._allowed(now, pods, stable)
        if allowed != pods:
            self._changes.append((now, allowed - pods))
        return allowed

    def recommendation(self, pods: int, metrics: Sequence[float | None]) -> int:
        """Pods without a metric are idle where more are wanted, and at the target where fewer are."""
        known = [each for each in metrics if each is not None]
        if not known:
            return pods
        ratio = sum(known) / len(known) / self.target
        missing = len(metrics) - len(known)
        if not missing:
            return pods if abs(ratio - 1) <= TOLERANCE else ceil(ratio * len(known) - 1e-9)
        assumed = missing * self.target if ratio < 1 else 0.0
        again = (sum(known) + assumed) / len(metrics) / self.target
        if abs(again - 1) <= TOLERANCE or (ratio < 1) != (again < 1):
            return pods
        wanted = ceil(again * len(metrics) - 1e-9)
        return pods if (again < 1 and wanted > pods) or (again > 1 and wanted < pods) else wanted

    def _since(self, now: float, window: int) -> list[int]:
        """What was recommended within the window."""
        return [number for at, number in self._recommended if at > now - window]

    def _allowed(self, now: float, pods: int, stable: int) -> int:
        if stable > pods:
            limit = max(self._limits(now, pods, self.behaviour.up, Policy.up), default=stable)
            return max(min(stable, limit), pods)
        if stable < pods:
            limit = min(self._limits(now, pods, self.behaviour.down, Policy.down), default=stable)
            return min(max(stable, limit), pods)
        return pods

    def _limits(
        self, now: float, pods: int, policies: Sequence[Policy], step: Callable[[Policy, int], int]
    ) -> list[int]:
        """By each policy, from the pods at the begin of its period."""
        return [
            step(policy, pods - sum(change for at, change in self._changes if at > now - policy.seconds))
            for policy in policies
        ]
