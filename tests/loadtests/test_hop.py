"""The race of one hop: TLS in front of everybody, latencies at a given rate, and what is said of them."""

from pathlib import Path

import pytest

from loadtests.hop import contestants, latency, proxies, report
from loadtests.hop.latency import Measured
from loadtests.hop.upstream import upstream
from loadtests.race import rounds
from loadtests.race.contestant import Running, request
from loadtests.race.rounds import Lane, Sample
from loadtests.tools import certificate, client, h2load
from loadtests.tools.h2load import Shape
from loadtests.tools.process import Process, free_ports

needs_h2load = pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)


@needs_h2load
def test_everybody_that_is_installed_races_over_tls(tmp_path: Path) -> None:
    shown = certificate.make(tmp_path)
    behind = free_ports(1)[0]
    with upstream(tmp_path, behind) as process:
        client.wait_until_answered(behind, request(), process)
        makers = (contestants.modelward, proxies.haproxy, proxies.nginx, proxies.envoy)
        with rounds.lined_up([make(behind, shown) for make in makers], trust=shown.trust) as lanes:
            rounds.run(lanes, {Shape(2, 4): 100}, rounds=1)
            assert lanes[0].contestant.name == report.OURS
            assert all(lane.median(Shape(2, 4)).cpu_us > 0 for lane in lanes)


@needs_h2load
def test_every_request_sent_at_a_rate_has_its_latency(tmp_path: Path) -> None:
    port, body = free_ports(1)[0], tmp_path / "body"
    body.write_bytes(client.framed(request()))
    with upstream(tmp_path, port) as process:
        client.wait_until_answered(port, request(), process)
        taken = h2load.latencies(port, body, per_second=400, seconds=0.5, shape=Shape(2, 16))
    assert len(taken) == 200
    assert min(taken) > 0


def test_over_tls_nginx_is_shown_and_not_judged(idle_process: Process) -> None:
    lanes = [
        Lane(contestant, Running(idle_process, 1, 1), {report.BUSY: [Sample(cost, 1.0, 1.0)]})
        for contestant, cost in (
            (contestants.modelward(1), 5.0),
            (proxies.haproxy(1), 20.0),
            (proxies.nginx(1), 10.0),
        )
    ]
    assert [(bar.name, bar.figure) for bar in report.bars(lanes, tls=True)] == [
        ("8x16, less than the best (HAProxy)", 4.0)
    ]
    assert [bar.figure for bar in report.bars(lanes)] == [5.0, 2.0]


def test_what_a_hop_adds_is_the_difference_to_the_upstream_alone() -> None:
    everybody = [
        Measured(report.OURS, 1, [1.0], [900.0]),
        Measured("HAProxy", 2, [1.0], [800.0]),
        Measured("nginx", 3, [1.0], [2000.0]),
        Measured(latency.DIRECT, 4, [1.0], [500.0]),
    ]
    judged = [(bar.name, bar.figure, bar.bound, bar.reached) for bar in latency.bars(everybody)]
    assert judged == [
        ("added p99, against HAProxy", 400.0, 300.0, False),
        ("added p99, against nginx", 400.0, 1500.0, True),
    ]
