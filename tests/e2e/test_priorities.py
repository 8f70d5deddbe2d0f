"""Priority is granted: a request orders its own identity's requests, and an operator orders identities."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_admission import Backend, Caller, guarded, message
from tests.support import wait_until
from tests.tokens import AUDIENCE, ISSUER, Issuer

FLOOD, FEW = 40, 5
SERVICE = 0.03  # seconds, so that what a busy machine adds is little
FAIR = 4 * FEW  # twice what exact shares give
ALONE = {"concurrency": 1}


class Tenant(Caller):
    def __init__(self, port: int, issuer: Issuer, name: str) -> None:
        super().__init__(port)
        self.name = name
        self.metadata = (("authorization", f"Bearer {issuer.token(name)}"),)
        # its credential is known from now on, and no call waits for it to be checked
        self._ask("ServerMetadata")

    def _ask(self, method: str) -> None:
        path = f"/inference.GRPCInferenceService/{method}"
        self.channel.unary_unary(path)(b"", timeout=60, metadata=self.metadata)

    def begin_all(self, *priorities: int, first: int = 0) -> list[Any]:
        """Calls with ids of its name and their number, from `first`; all are in the queue on return."""
        calls = [
            self.infer.future(message(f"{self.name}-{number}", priority), timeout=60, metadata=self.metadata)
            for number, priority in enumerate(priorities, first)
        ]
        # one after the other on one connection: when this is answered, all before it have been read
        self._ask("ServerLive")
        return calls


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


def with_tokens(issuer: Issuer, folder: Path) -> dict[str, Any]:
    jwt = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(issuer.publish(folder / "jwks.json"))}
    return {"access": {"jwt": jwt, "rules": [{"identity": "*", "models": "*"}]}}


def served(
    issuer: Issuer,
    folder: Path,
    arrivals: list[tuple[str, tuple[int, ...]]],
    *,
    backend: Backend | None = None,
    identity: dict[str, Any] | None = None,
    admission: dict[str, Any] | None = None,
) -> list[str]:
    """Ids in the order in which a backend of one place got them. arrivals: tenants and the priorities they ask for."""
    backend = backend or Backend()
    backend.seconds = SERVICE
    around = with_tokens(issuer, folder)
    if identity:
        around["limits"] = {"identity": identity}
    with guarded(backend, around, admission=ALONE | (admission or {})) as port:
        first = Tenant(port, issuer, "first").begin_all(0)
        wait_until(lambda: backend.now == 1, "the backend to be busy")
        calls = [call for name, asked in arrivals for call in Tenant(port, issuer, name).begin_all(*asked)]
        backend.gate.set()
        for call in first + calls:
            call.result()
    assert backend.ids[0] == "first-0"
    return backend.ids[1:]


def last_of(ids: list[str], name: str) -> int:
    """How many were served when the last of this tenant was."""
    return max(i for i, each in enumerate(ids) if each.startswith(f"{name}-")) + 1


@pytest.mark.parametrize("decoded", [True, False], ids=["decoded", "undecoded"])
def test_a_flood_of_the_highest_priority_keeps_no_other_identity_waiting(
    issuer: Issuer, tmp_path: Path, decoded: bool
) -> None:
    arrivals = [("bob", (1,) * FLOOD), ("alice", (9,) * FEW)]
    ids = served(issuer, tmp_path, arrivals, backend=Backend(decoded=decoded))
    assert len(ids) == FLOOD + FEW
    assert last_of(ids, "alice") <= FAIR


def test_a_request_that_asks_for_more_than_is_granted_has_what_is_granted(issuer: Issuer, tmp_path: Path) -> None:
    ids = served(issuer, tmp_path, [("bob", (9, 0, 1, 4, 5, 7))])
    # 0 is none said: 5, as which 1 and 4 count too; so they go in the order of their arrival
    assert ids == ["bob-1", "bob-2", "bob-3", "bob-4", "bob-5", "bob-0"]


def test_an_identity_chooses_within_the_range_that_is_granted_to_it(issuer: Issuer, tmp_path: Path) -> None:
    grant = {"overrides": {"bob": {"priority": "2-6"}}}
    ids = served(issuer, tmp_path, [("bob", (9, 6, 0, 1, 2))], identity=grant)
    assert ids == ["bob-3", "bob-4", "bob-2", "bob-0", "bob-1"]


def test_an_identity_that_holds_every_place_keeps_others_waiting_for_one_of_its_requests_at_most(
    issuer: Issuer, tmp_path: Path
) -> None:
    ended = threading.Semaphore(0)
    backend, places = Backend(held={"bob": ended}), 4
    backend.gate.set()
    with guarded(backend, with_tokens(issuer, tmp_path), admission={"concurrency": places}) as port:
        bob, alice = Tenant(port, issuer, "bob"), Tenant(port, issuer, "alice")
        flood = bob.begin_all(*(0,) * FLOOD)
        wait_until(lambda: backend.now == places, "every place to be bob's")
        for number in range(8):
            before = len(backend.ids)
            (hers,) = alice.begin_all(0, first=number)
            ended.release()
            hers.result()
            assert backend.ids.index(f"alice-{number}") == before, "she has the first place that is given back"
            wait_until(lambda: backend.now == places, "every place to be bob's again")
        for call in flood:
            call.cancel()


def test_an_identity_whose_requests_hold_the_place_for_long_gets_it_less_often(issuer: Issuer, tmp_path: Path) -> None:
    backend = Backend(slow={"bob": 10 * SERVICE})
    ids = served(issuer, tmp_path, [("bob", (0,) * FEW), ("alice", (0,) * FEW)], backend=backend)
    # which is not known before they run; from the second on it is
    assert last_of(ids, "alice") <= FEW + 2


def test_a_range_orders_an_identity_and_not_others(issuer: Issuer, tmp_path: Path) -> None:
    grant = {"overrides": {"bob": {"priority": "1-9"}}}
    ids = served(issuer, tmp_path, [("bob", (1,) * FLOOD), ("alice", (0,) * FEW)], identity=grant)
    assert last_of(ids, "alice") <= FAIR


def test_a_number_that_the_operator_writes_orders_identities(issuer: Issuer, tmp_path: Path) -> None:
    grant = {"overrides": {"front": {"priority": 1}, "batch": {"priority": 9}}}
    arrivals = [("batch", (1,) * FEW), ("alice", (1,) * FEW), ("front", (9,) * FEW)]
    ids = served(issuer, tmp_path, arrivals, identity=grant)
    assert (last_of(ids, "front"), last_of(ids, "alice"), last_of(ids, "batch")) == (FEW, 2 * FEW, 3 * FEW)


def test_priority_counts_across_identities_where_the_model_says_so(issuer: Issuer, tmp_path: Path) -> None:
    arrivals = [("alice", (0,) * FEW), ("bob", (1,) * FLOOD)]
    across = {"priority_across_identities": True}
    ids = served(issuer, tmp_path, arrivals, identity={"priority": "1-9"}, admission=across)
    assert ids[:FLOOD] == [f"bob-{number}" for number in range(FLOOD)]
    ungranted = served(issuer, tmp_path, arrivals, admission=across)
    assert last_of(ungranted, "alice") <= FAIR
