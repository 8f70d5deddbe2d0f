"""Whom a running server suspects, as its operators see it: `modelward identities`, asked again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from modelward.cli.admin import Client, Unreachable
from modelward.config.address import Address
from modelward.problem import ProblemsFound

STEPS = ("observe", "tag", "round", "top_class", "delay", "fallback", "block")
RESTRICTED = STEPS.index("round")
LOOK_SECONDS = 1.0
MOST = 1000  # that are told at once; the most suspicious come first
ANSWER_SECONDS = 30.0


@dataclass
class Suspect:
    """The worst that was seen of one identity and model. seen: what `when` said at each step's first look."""

    step: str
    evidence: Mapping[str, float]
    seen: dict[str, int]

    @property
    def restricted(self) -> bool:
        return STEPS.index(self.step) >= RESTRICTED


class Watcher:
    """Looks once a second. A context manager; `suspects` by (identity, model) is complete after it. Raises on leaving
    what kept it from looking.

    when: what is noted with the first look at a step, such as how much the identity has sent.
    """

    def __init__(self, socket: Path, when: Callable[[str, str], int] = lambda *_: 0) -> None:
        self.suspects: dict[tuple[str, str], Suspect] = {}
        self._socket = socket
        self._when = when
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failed: Unreachable | ProblemsFound | None = None

    def _run(self) -> None:
        with grpc.insecure_channel(f"unix:{self._socket}") as channel:
            client = Client(Address(path=str(self._socket)), channel)
            try:
                while not self._ended.wait(LOOK_SECONDS):
                    self._look(client)
                self._look(client)
            except (Unreachable, ProblemsFound) as error:
                self._failed = error  # for whom it looks

    def _look(self, client: Client) -> None:
        answer: Any = client.call("Suspects", ANSWER_SECONDS, most=MOST, least="tag")
        for each in answer.suspects:
            key, worth = (each.name, each.model), STEPS.index(each.step)
            known = self.suspects.setdefault(key, Suspect(each.step, dict(each.evidence), {}))
            if worth >= STEPS.index(known.step):
                known.step, known.evidence = each.step, dict(each.evidence)
            for step in STEPS[1 : worth + 1]:
                known.seen.setdefault(step, self._when(*key))

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed
