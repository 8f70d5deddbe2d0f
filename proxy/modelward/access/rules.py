"""Rules of the configuration as the data plane asks them: which match a caller, and what they allow of a model."""

from modelward.config.access import Rule, pattern
from modelward_native.access.identities import PERMITS


class Rules:
    """As access.access.Access wants them. Everything is asked once per identity or model and kept there."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._identities = [pattern(rule.identity) if rule.identity is not None else None for rule in rules]
        self._models = [[pattern(model) for model in rule.models] for rule in rules]

    def matching(self, source: str, name: str) -> tuple[int, ...]:
        """Numbers of the rules for this identity, if `source` (certificate, jwt, key) has proved it."""
        return tuple(
            number
            for number, (rule, identity) in enumerate(zip(self._rules, self._identities, strict=True))
            if identity is not None and source in rule.sources and identity.fullmatch(name)
        )

    def matching_anonymous(self) -> tuple[int, ...] | None:
        """Numbers of the rules for callers without a credential; None where there are none."""
        return tuple(number for number, rule in enumerate(self._rules) if rule.anonymous) or None

    def permits(self, numbers: tuple[int, ...], model: str | None) -> int:
        """What these rules allow together, as bits; None: of a name that is not served, for which only "*" counts."""
        bits = 0
        for number in numbers:
            rule = self._rules[number]
            if "*" in rule.models if model is None else any(p.fullmatch(model) for p in self._models[number]):
                for method in rule.methods:
                    bits |= PERMITS[method]
        return bits
