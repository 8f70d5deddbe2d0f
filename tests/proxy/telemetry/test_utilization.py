"""One number for autoscalers: it follows the load that is answered, and an attack that is refused does not move it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from modelward.telemetry.utilization import (
    HANDSHAKE,
    LOOP_PRICE,
    REFUSAL,
    WORST,
    Utilization,
    VersionWork,
    Work,
)

KEY = ("m", "1")
ANSWER = 100e-6  # seconds of the loop
LARGE = 16 << 20  # bytes


@dataclass
class Server:
    """Totals that go on from second to second. permits: of the one model, which runs here where `here`."""

    permits: int = 0
    here: bool = True
    seen: Utilization = field(default_factory=Utilization)
    now: Work = field(default_factory=lambda: Work(at=1000.0, workers=1, cores=4, versions={KEY: VersionWork()}))

    def __post_init__(self) -> None:
        self.seen.take(self.now)

    def go(
        self,
        seconds: int,
        answered: int = 0,
        unwanted: int = 0,
        *,
        unproven: int = 0,
        bare: int = 0,
        size: int = 0,
        loop: float = 0.0,
        waited: float = 0.0,
        on_loop: float = 0.0,
        run: float = 0.0,
        held: float = 0.0,
        waiting: int = 0,
    ) -> None:
        """In each second so many answers and so much refused, of so many bytes each; connections that bring nothing,
        and those that say nothing; seconds of the loop, of them those that it waited for a core and those of runs on
        it; of runs, and with permits.
        """
        for _ in range(seconds):
            was = self.now.versions[KEY]
            version = VersionWork(
                answered=was.answered + answered,
                rows=was.rows + answered,
                runs=(was.runs or 0.0) + run if self.here else None,
                on_loop=was.on_loop + on_loop,
                held=was.held + held,
                permits=self.permits,
                waiting=waiting,
            )
            self.now = replace(
                self.now,
                at=self.now.at + 1,
                loop=self.now.loop + loop,
                cpu=self.now.cpu + loop - waited,
                answered=self.now.answered + answered,
                unwanted=self.now.unwanted + unwanted,
                unproven=self.now.unproven + unproven,
                overhead=self.now.overhead + unwanted * REFUSAL,
                unproven_overhead=HANDSHAKE,
                unanswered=self.now.unanswered + unwanted * size,
                bare=self.now.bare + bare,
                versions={KEY: version},
            )
            self.seen.take(self.now)

    @property
    def loop(self) -> float:
        return self.seen.parts["loop"]


def test_there_is_no_figure_before_there_is_a_time_to_look_at() -> None:
    assert Server().seen.parts == {}


def test_the_loop_is_used_as_far_as_it_is_busy() -> None:
    server = Server()
    server.go(30, 4000, loop=4000 * ANSWER)
    assert server.loop == pytest.approx(0.4)


def test_a_figure_is_a_mean_over_a_quarter_of_a_minute_and_no_more() -> None:
    server = Server()
    server.go(30, 1000, loop=0.1)
    server.go(1, 1000, loop=1.0)
    assert server.loop == pytest.approx((14 * 0.1 + 1.0) / 15)
    server.go(15, 1000, loop=0.1)
    assert server.loop == pytest.approx(0.1)


def test_workers_share_the_load_and_so_the_figure_is_their_mean() -> None:
    server = Server()
    server.now = replace(server.now, workers=2)
    server.go(20, 8000, loop=0.8)
    assert server.loop == pytest.approx(0.4)


@pytest.mark.parametrize(("refused", "size"), [(40_000, 100), (200, LARGE)])
def test_an_attack_that_is_refused_leaves_the_figure_where_it_was(refused: int, size: int) -> None:
    """40,000 cheap refusals, or 200 for which megabytes were read: the loop has no time left either way."""
    server = Server()
    server.go(30, 2000, loop=2000 * ANSWER)
    server.go(60, 2000, refused, size=size, loop=1.0)
    assert server.loop == pytest.approx(0.2, rel=0.02)


def test_an_attack_counts_as_one_from_its_first_second_on() -> None:
    server = Server()
    server.go(30, 2000, loop=2000 * ANSWER)
    for _ in range(20):
        server.go(1, 2000, 200, size=LARGE, loop=1.0)
        assert server.loop == pytest.approx(0.2, rel=0.02)


def test_load_that_rises_during_an_attack_counts() -> None:
    server = Server()
    server.go(30, 2000, loop=2000 * ANSWER)
    server.go(30, 6000, 20_000, loop=1.0)
    assert server.loop == pytest.approx(0.6, rel=0.02)


def test_an_attack_may_last_and_the_figure_stays() -> None:
    server = Server()
    server.go(30, 2000, loop=2000 * ANSWER)
    server.go(3600, 2000, 40_000, loop=0.8)
    assert server.loop == pytest.approx(0.2, rel=0.02)


def test_an_attack_that_leaves_no_time_to_answer_does_not_lower_the_figure_either() -> None:
    server = Server(permits=4, here=False)
    server.go(30, 2000, loop=2000 * ANSWER, held=2.0)
    server.go(60, 100, 40_000, loop=1.0, held=0.1)
    assert server.seen.parts == pytest.approx({"permits": 0.5, "loop": 0.2, "backend": 0.0}, rel=0.02)
    assert server.seen.busy == pytest.approx(1.0)
    server.go(20, 100, loop=100 * ANSWER, held=0.1)
    assert server.loop == pytest.approx(0.01, rel=0.02)


def test_a_server_that_always_refuses_a_few_knows_its_price_too() -> None:
    server = Server()
    server.go(400, 20_000, 1, loop=0.2)
    server.go(60, 20_000, 40_000, loop=0.8)
    assert server.loop == pytest.approx(0.2, rel=0.05)


def test_a_refusal_takes_no_more_off_than_it_can_cost() -> None:
    server = Server()
    server.go(60, 2000, loop=0.1)
    server.go(15, 2000, 10, size=LARGE, loop=0.8)
    assert server.loop == pytest.approx(0.8 - 10 * WORST, rel=0.05)


def test_a_refusal_of_a_few_bytes_takes_hardly_anything_off() -> None:
    server = Server()
    server.go(60, 2000, loop=0.1)
    server.go(15, 2000, 100, size=1000, loop=0.8)
    assert server.loop == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("rate", "each"), [(280, 3e-3), (2000, 400e-6), (5000, 160e-6)])
@pytest.mark.parametrize("refused", [4, 20, 40, 1000])
def test_a_server_that_starts_while_requests_are_refused_counts_what_answers_cost(
    rate: int, each: float, refused: int
) -> None:
    """A fleet that must grow does: 1000 refusals a second, of 1 kB each, cost a tenth of a loop at most."""
    server = Server()
    server.go(60, rate, refused, size=1000, loop=rate * each)
    assert server.loop == pytest.approx(rate * each, abs=0.13)


def test_a_server_that_starts_in_an_attack_counts_the_runs_on_its_loop() -> None:
    server = Server()
    server.go(30, 3000, 40_000, loop=1.0, on_loop=0.6)
    assert server.loop == pytest.approx(0.6)


def test_connections_that_bring_no_answered_request_do_not_count() -> None:
    server = Server()
    server.go(30, loop=0.7, unproven=140)
    assert server.loop == 0.0
    assert server.seen.busy == pytest.approx(0.7)


def test_a_load_balancers_checks_that_say_nothing_take_hardly_anything_off_what_answers_cost() -> None:
    server = Server()
    server.go(60, 30, loop=0.3, bare=30)
    assert server.loop == pytest.approx(0.3, abs=0.01)


def test_a_flood_of_connections_that_say_nothing_does_not_count() -> None:
    server = Server()
    server.go(60, bare=4000, loop=0.8)
    assert server.loop == 0.0


def test_connections_whose_requests_are_answered_count() -> None:
    server = Server()
    server.go(60, 140, loop=0.7)
    assert server.loop == pytest.approx(0.7)


def test_connections_that_are_proven_now_leave_room_for_what_is_refused_meanwhile() -> None:
    server = Server()
    server.go(30, 2000, loop=0.2)
    server.go(15, 2000, loop=0.2, unproven=5000)
    server.go(30, 2000, 40_000, loop=1.0, unproven=-2500)
    assert server.loop == pytest.approx(0.2, rel=0.05)


def test_a_loop_that_waits_for_a_core_takes_longer_for_refusals_too() -> None:
    server = Server()
    server.go(30, 1000, loop=0.1)
    server.go(30, 1000, 3000, loop=0.9, waited=0.6)
    assert server.loop == pytest.approx(0.1, rel=0.1)


def test_a_server_that_starts_in_an_attack_charges_answers_the_highest_price_that_was_measured() -> None:
    server = Server()
    server.go(30, 2000, 40_000, loop=1.0)
    assert server.loop == pytest.approx(2000 * LOOP_PRICE, rel=0.02)


def test_answers_that_become_more_expensive_count_at_once_while_nothing_is_refused() -> None:
    server = Server()
    server.go(60, 2000, loop=0.1)
    server.go(15, 2000, loop=0.9)
    assert server.loop == pytest.approx(0.9)


def test_the_price_of_before_an_attack_is_the_one_of_the_last_minutes() -> None:
    server = Server()
    server.go(60, 2000, loop=0.1)
    server.go(600, 2000, loop=0.4)
    server.go(30, 2000, 40_000, loop=1.0)
    assert server.loop == pytest.approx(0.4, rel=0.05)


def test_a_model_that_runs_here_uses_its_thread() -> None:
    server = Server()
    server.go(20, 100, loop=0.01, run=0.7)
    assert server.seen.parts["backend"] == pytest.approx(0.7)


def test_models_that_run_beside_each_other_use_the_cores_together() -> None:
    versions = {("m", str(i)): VersionWork(runs=0.0) for i in range(8)}
    seen = Utilization()
    seen.take(Work(at=0.0, workers=1, cores=2, versions=versions))
    seen.take(Work(at=10.0, workers=1, cores=2, versions={key: VersionWork(runs=2.0) for key in versions}))
    assert seen.parts["backend"] == pytest.approx(0.8)


def test_a_loop_that_an_attack_fills_makes_no_runs_out_of_the_time_they_wait_for_a_core() -> None:
    server = Server()
    server.go(30, 1000, loop=0.1, run=0.3)
    server.go(30, 1000, 40_000, loop=1.0, run=0.6)
    assert server.seen.parts["backend"] == pytest.approx(0.3, rel=0.02)


def test_permits_in_use_are_the_mean_over_the_time_and_not_what_a_look_happens_to_find() -> None:
    server = Server(permits=4, here=False)
    server.go(20, 400, loop=0.01, held=400 * 0.005)
    assert server.seen.parts == {"permits": pytest.approx(0.5), "loop": pytest.approx(0.01), "backend": 0.0}


def test_permits_are_all_in_use_while_requests_wait_for_one_even_if_none_is_answered() -> None:
    server = Server(permits=20, here=False)
    server.go(20, waiting=3)
    assert server.seen.parts["permits"] == 1.0


def test_a_version_that_comes_is_counted_from_then_on() -> None:
    seen = Utilization()
    seen.take(Work(at=0.0, workers=1, cores=1))
    seen.take(Work(at=1.0, workers=1, cores=1, versions={KEY: VersionWork(runs=50.0)}))
    assert seen.parts["backend"] == 0.0
