"""What a model's versions are at this moment: which one was promoted last, which answer, and what their files are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from modelward.models.weights import primary
from modelward.promotion.asked import PromotedServer, check_decided, configured, no_such_model, refused
from modelward.promotion.state import Promotion, Shares, State
from modelward.promotion.unpromoted import left, may_answer, now_of

log = logging.getLogger("modelward.promotion")


class Standing:
    """Of one server. state, shares: as they are now."""

    def __init__(
        self, server: PromotedServer, state: Callable[[], State], shares: Callable[[], Mapping[str, Shares]]
    ) -> None:
        self._server = server
        self._state = state
        self._shares = shares

    def models(self) -> set[str]:
        """That are configured, served, or were decided on before."""
        state, server = self._state(), self._server
        return {*server.config.models, *server.models(), *state.promotions, *state.serving}

    def known(self, model: str) -> Promotion | None:
        """The last promotion, unless the configuration has said something else since."""
        last = self._state().promotions.get(model)
        return last if last is not None and last.configured == configured(self._server, model) else None

    def under_way(self, model: str) -> Promotion | None:
        last = self.known(model)
        return last if last is not None and last.phase == "stepping" else None

    def present(self, model: str) -> dict[str, int]:
        """Shares of the versions."""
        present = self._shares().get(model) or configured(self._server, model)
        return {**present} if present else {primary(self._server.versions(model), None): 1}

    def answering(self, model: str) -> dict[str, int]:
        """As `present`, without versions that may not answer; nothing where none answers."""
        now = now_of(self._server, self._state(), model, self._shares()).get(model)
        if now is not None and not any(now.values()):
            return {}
        able = may_answer(self._server, self._state(), model)
        return {version: share for version, share in self.present(model).items() if version in able}

    def next_older(self, model: str) -> tuple[str, str]:
        """The version that answers, and the one before it. Raises ProblemsFound where there is none."""
        served = self._server.versions(model)
        if not served:
            raise no_such_model(self._server, model, "Look at modelward status")
        check_decided(self._server, model)
        if self._server.config.policy(model) == "explicit":
            served = tuple(version for version in served if version in (configured(self._server, model) or {}))
        current = primary(served, self.present(model))
        served = tuple(v for v in served if v == current or v in may_answer(self._server, self._state(), model))
        if served.index(current) == 0:
            what = f"nothing was promoted: version {current} answers, and there is no older version than {current}"
            raise refused(what, model, "There is nothing to do")
        return current, served[served.index(current) - 1]

    def to_take_back(self, model: str, now: float) -> Promotion:
        """The last promotion; where there is none, one of the version that answers from the one before it. Raises
        ProblemsFound where it has been taken back already, or no version would answer."""
        promotion = self.known(model)
        if promotion is None:
            current, older = self.next_older(model)
            written = configured(self._server, model)
            promotion = Promotion(version=current, before={older: 1}, configured=written, steps=(100,), since=now)
        elif promotion.phase == "rolled back":
            raise refused(f"version {promotion.version} has been rolled back already", model, "There is nothing to do")
        if not any(self.left(model, promotion)[0].values()):
            what = "no version would answer: none that may is there, but the one that would be taken back"
            raise refused(what, model, f"Promote another version: modelward promote {model} VERSION --steps 100")
        return promotion

    def other_files(self, model: str, promotion: Promotion) -> Sequence[str]:
        """Versions whose files are others here than when it began."""
        now = self.hashes(model, promotion.version, promotion.before)
        return [v for v in now if promotion.digests.get(v, now[v]) != now[v]]

    def held(self, model: str) -> str:
        """Why the promotion that the fleet has is not followed here; empty where it is, or there is none."""
        promotion = self._state().promotions.get(model)
        if promotion is None or promotion.phase == "rolled back":
            return ""
        if promotion.configured != configured(self._server, model):
            return "versions: of the configuration says otherwise"
        if promotion.version not in self._server.versions(model):
            return f"version {promotion.version} is not served here"
        if promotion.version in self.other_files(model, promotion):
            return f"version {promotion.version} has other files here"
        return ""

    def begun_again(self, model: str, promotion: Promotion) -> tuple[Promotion, str] | None:
        """Where a version's file is another than when it began, what is known is of the old one; and why, in words."""
        if not (changed := self.other_files(model, promotion)):
            return None
        why = f"version {', '.join(changed)} has another file: what was known is of the one before"
        log.warning("model %s: %s", model, why)
        update: dict[str, Any] = {"digests": self.hashes(model, promotion.version, promotion.before), "forced": False}
        if promotion.version in changed:
            update["step"] = 0
        return structs.replace(promotion, **update), why

    def held_back(self) -> State:
        """The state, without promotions under way of versions whose files are others here: these are not judged."""
        state = self._state()
        held = {
            model: structs.replace(promotion, phase="rolled back")
            for model, promotion in state.promotions.items()
            if promotion.phase == "stepping" and promotion.version in self.other_files(model, promotion)
        }
        return structs.replace(state, promotions={**state.promotions, **held}) if held else state

    def left(self, model: str, promotion: Promotion) -> tuple[Shares, str]:
        return left(self._server, self._state(), model, promotion)

    def digest(self, model: str, version: str) -> str:
        """Of all files of a version; empty where it is not served."""
        facts = self._server.facts(model).get(version)
        return facts.digest if facts is not None else ""

    def hashes(self, model: str, version: str, before: Shares) -> dict[str, str]:
        """Of the model files of those with a share that are served."""
        facts = self._server.facts(model)
        return {v: facts[v].sha256 for v in (version, *before) if v in facts and (v == version or before[v])}
