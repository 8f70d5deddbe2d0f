"""Evidence from rows and answers: the kernel against its slow twin, honest streams, thieves and attackers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelward_native.region.region import Region
from modelward_native.testing.suspicion import Suspicion
from modelward_native.testing.watch import CELLS, Watch
from tests.native.detect.streams import (
    BEGIN,
    CLUSTERS,
    FEATURES,
    THIEF,
    Armed,
    Floats,
    World,
    a_stream,
    armed,
    attack,
    boundary_walk,
    numbers,
    times,
    watch_of,
)
from tests.oracle import watch as twin
from tests.oracle import watch_tables


@pytest.fixture
def world() -> Armed:
    found = armed()
    found.now += 18_000
    return found


# ---- against the twin


@pytest.mark.parametrize("phase", ["filling", "armed"])
def test_the_kernel_and_its_twin_agree_over_ten_thousand_rows(phase: str) -> None:
    world = World(11)
    watch = watch_of(world)
    teach = 210_000 if phase == "armed" else 33_000
    world.send(watch, world.rows(teach), numbers(teach, 10_000, 50), times(teach, BEGIN))
    assert watch.phase == phase
    watch.forget()
    inverse_width, inverse_radius, edges = watch.learnt
    tables = watch_tables.Tables(*watch.tables)
    learnt = twin.Learnt(phase, tables, inverse_width, inverse_radius, edges, watch.groups)
    oracle = twin.Oracle(twin.Geometry(7, FEATURES, 1), learnt)
    count = 10_000
    who = numbers(count, 1, 7)
    rows = a_stream(world, who)
    at, p = world.look(rows)
    prototypes = world.prototypes(rows, at)
    at[::97] = -1
    p[::97] = 0
    at[6000:6400:2] = -1  # a fault that all have
    labels, margins = world.answer(rows)
    when = times(count, BEGIN + 20_000, rate=9)
    when[4000:] += 3000
    keys = {name: watch.key(name) for name in range(1, 8)}
    got = watch.run(rows, at, p, who, labels, margins, when, prototypes=prototypes)
    wanted = [
        oracle.row(
            keys[who[i]],
            twin.Row(
                rows[i], int(at[i]), int(prototypes[i]), float(p[i]), int(labels[i]), float(margins[i]), int(when[i])
            ),
        )
        for i in range(count)
    ]
    told = np.array([(one.step, one.withheld, one.first_label, one.repeated) for one in wanted])
    differ = (np.stack(got, axis=1) != told).any(axis=1)
    assert differ.sum() <= 5, "single precision may round a piece or a step the other way"
    for name in range(1, 8):
        record, other = watch.record(name), oracle.identities[watch.key(name)]
        assert record is not None
        assert np.allclose(record["evidence"], other.evidence, atol=0.05) and abs(record["own"] - other.own) < 0.01
        assert record["distinct"] == pytest.approx(other.distinct, rel=0.01)
    faults = [(fault.until, fault.identities) for fault in oracle.faults]
    assert watch.faults == faults and max(fault.until for fault in oracle.faults) > 0
    steps = {int(step) for step in got[0]}
    assert len(steps) >= 3 and got[3].sum() > 500, "the stream has something to judge"
    if phase == "armed":
        assert got[1].sum() > 100 and (got[2] >= 0).sum() > 100
    counted = oracle.p, oracle.near, oracle.walk, oracle.flips, oracle.p_of_place
    for mine, others in zip(watch.counts, counted, strict=True):
        assert np.abs(mine - others).sum() <= 100


def test_tables_are_made_from_counts_as_the_twin_makes_them() -> None:
    world = World(12)
    watch = watch_of(world)
    who = numbers(60_000, 1, 50)
    world.send(watch, a_stream(world, who), who, times(60_000, BEGIN))
    counts = watch.counts
    assert counts[1].sum() > 1000
    watch.learn(BEGIN)
    wanted = watch_tables.make_tables(counts, watch.groups)
    s, near, walk, surprise, hot, surge = watch.tables
    differ = np.abs(s - wanted.s)
    assert differ.max() <= 1 and differ.mean() < 1e-3, "a half may be rounded either way"
    assert len(np.unique(s[: 3 * 32], axis=0)) > 6, "places of a cell differ"
    assert np.array_equal(near, wanted.near) and np.array_equal(walk, wanted.walk)
    assert np.array_equal(surprise, wanted.surprise) and np.array_equal(hot, wanted.flip_hot)
    assert np.allclose(surge, wanted.surge, atol=1e-4) and (surge[:, 1] > 1).any()


def test_bets_add_up_to_one_so_that_no_tolerated_stream_gains_on_average() -> None:
    for bet in (*watch_tables.NEAR_BET, *watch_tables.WALK_BET):
        assert sum(bet) == pytest.approx(1.0, abs=1e-9)


# ---- honest streams


@pytest.mark.parametrize("kind", ["iid", "clustered", "bursty", "repeating", "drifting"])
def test_no_honest_tenant_is_restricted(world: Armed, kind: str) -> None:
    tenants, each = 20, 2000
    count = tenants * each
    who = numbers(count, 1000 * (1 + len(kind)), tenants)
    of = world.world.rng.integers(0, CLUSTERS, count)
    turn = np.arange(count) // tenants
    if kind == "clustered":
        of = np.where(world.world.rng.random(count) < 0.8, who.astype(int) % CLUSTERS, of)
    elif kind == "bursty":
        of = (who.astype(int) + turn // 150) % CLUSTERS
    rows = world.world.rows(count, of)
    if kind == "repeating":
        old = world.world.rng.random(count) < 0.9
        rows[old] = rows[np.arange(count)[old] % (60 * tenants)]
    elif kind == "drifting":
        rows += (turn * 0.00005)[:, None].astype(np.float32) * world.world.rng.normal(size=FEATURES).astype(np.float32)
    outcome = world.world.send(world.watch, rows, who, world.at(count))
    assert outcome.restricted() == set()
    assert outcome.withheld.mean() < 0.02
    if kind == "repeating":
        assert outcome.repeated.mean() > 0.8


def improbable(count: int, rng: np.random.Generator, exponent: Any = 1.0) -> Any:
    """p-values of which -ln has this mean."""
    return np.maximum(rng.random(count) ** exponent, 1e-5)


def send_p(watch: Watch, rows: Any, p: Any, who: Any, when: Any, *, prototype: Any = 0) -> Any:
    """Rows of the first cell with these p-values; the steps that their identities had."""
    at, zeros = np.zeros(len(rows), np.int32), np.zeros(len(rows))
    return watch.run(rows, at, p, who, zeros, zeros + 1, when, prototypes=at + prototype)[0]


def test_rows_are_as_improbable_as_others_with_the_same_prototype() -> None:
    """The seventh prototype's rows are the far part of their cell. A tenant may send these alone."""
    world = World(15)
    watch, rng, count = watch_of(world), world.rng, 34_000
    prototype = rng.integers(0, 20, count)
    p = np.where(prototype == 7, 0.2, 1) * improbable(count, rng)
    send_p(watch, world.rows(count), p, numbers(count, 1, 50), times(count, BEGIN), prototype=prototype)
    assert watch.phase == "filling"
    far, later = 0.2 * improbable(800, rng), times(800, BEGIN + 3000)
    assert send_p(watch, world.rows(800), far, numbers(800, 900, 1), later, prototype=7).max() == 0
    assert send_p(watch, world.rows(800), far, numbers(800, 901, 1), later, prototype=8).max() >= 2


def test_an_identity_may_move_in_thousands_of_rows_however_fast_they_come() -> None:
    world = World(16)
    watch, rng = watch_of(world), world.rng
    taught = world.rows(34_000)
    send_p(watch, taught, improbable(34_000, rng), numbers(34_000, 1, 50), times(34_000, BEGIN))
    slowly, at_once = np.linspace(1, 4, 9000), np.where(np.arange(9000) < 4000, 1, 3)
    when = np.full(9000, BEGIN + 3000)
    assert send_p(watch, world.rows(9000), improbable(9000, rng, slowly), numbers(9000, 900, 1), when).max() == 0
    steps = send_p(watch, world.rows(9000), improbable(9000, rng, at_once), numbers(9000, 901, 1), when)
    assert steps[:4000].max() == 0 and steps[4000:4400].max() >= 2


def test_counts_of_a_place_are_halved_where_one_is_full() -> None:
    world = World(17)
    watch, count = watch_of(world), 102_000
    send_p(watch, world.rows(count), np.full(count, 0.9), numbers(count, 1, 50), times(count, BEGIN), prototype=3)
    assert watch.phase == "filling"
    counted = watch.counts[-1]
    assert 32_768 <= counted[3, 0] < 65_536 and counted.sum() == counted[3, 0]


# ---- thieves and attackers: at which of its requests one is restricted, and how many got an answer of the model


def test_uniform_rows_are_restricted_within_twenty_requests(world: Armed) -> None:
    low, high = world.world.rows(5000).min(0), world.world.rows(5000).max(0)
    reached, _ = attack(world, world.world.rng.uniform(low, high, (400, FEATURES)).astype(np.float32), THIEF)
    assert reached is not None and reached <= 20


def test_independent_marginals_are_restricted_within_a_hundred_requests(world: Armed) -> None:
    rows = world.world.rows(400)
    for column in rows.T:
        world.world.rng.shuffle(column)
    reached, _ = attack(world, rows, THIEF + 1)
    assert reached is not None and reached <= 100


def test_augmentation_by_jacobians_is_restricted_within_a_thousand_requests(world: Armed) -> None:
    seeds = world.world.rows(100)
    rows = [seeds]
    while sum(map(len, rows)) < 1200:
        known = np.concatenate(rows)
        side = np.where(world.world.answer(known)[0] == 1, 1, -1)[:, None]
        gradient = world.world.weights[0] * (1 - np.tanh(known @ world.world.weights[0])[:, None] ** 2)
        gradient = gradient + 0.5 * world.world.weights[1] * np.cos(known @ world.world.weights[1])[:, None]
        rows.append((known + 0.25 * np.sign(-side * gradient) * known.std(0)).astype(np.float32))
    reached, _ = attack(world, np.concatenate(rows)[:1200], THIEF + 2)
    assert reached is not None and reached <= 1000


def test_a_walk_along_the_boundary_gets_few_answers_of_the_model(world: Armed) -> None:
    reached, answered = attack(world, boundary_walk(world.world, 500), THIEF + 3)
    assert reached is not None and reached <= 100
    assert answered <= 60


def test_a_walk_of_ten_identities_gets_few_answers_of_the_model(world: Armed) -> None:
    rows = boundary_walk(world.world, 500)
    count = 10 * len(rows)
    mixed, who = world.world.rows(count), numbers(count, 2000, 180)
    mixed[::10], who[::10] = rows, numbers(len(rows), THIEF + 10, 10)
    outcome = world.world.send(world.watch, mixed, who, world.at(count))
    assert outcome.restricted() <= set(range(THIEF + 10, THIEF + 20))
    answered = (outcome.step[::10] < 2) & (outcome.withheld[::10] == 0)
    assert answered.sum() <= 100


# ---- many young identities in one cell


def in_one_cell(world: Armed, count: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Honest rows of one cell, and which of them the model is sure of, by its usual margins."""
    rows = world.world.rows(400 * count)
    at, _ = world.world.look(rows)
    sure = world.world.answer(rows)[1] >= world.watch.learnt[2][-1]
    cells = [cell for cell in range(64) if (sure & (at == cell)).sum() > 3 and (~sure & (at == cell)).sum() > 3]
    picked = np.flatnonzero(at == cells[0])[:count]
    assert len(picked) == count
    return rows[picked], sure[picked]


def test_many_young_identities_in_one_cell_get_labels_alone_and_none_near_the_boundary(world: Armed) -> None:
    rows, sure = in_one_cell(world, 60)
    outcome = world.world.send(world.watch, rows, numbers(60, THIEF + 200, 20), world.at(60))
    labels = world.world.answer(rows)[0]
    assert outcome.restricted() == set() and 0 < sure[20:].sum() < 40
    assert outcome.withheld[20:][~sure[20:]].all(), "rows near the boundary get no answer of the model"
    told = outcome.withheld[20:] == 0
    assert told.any() and (outcome.first_label[20:][told] >= 0).all(), "and the others a label"
    assert (outcome.first_label[20:] == labels[20:])[told].mean() > 0.9

    older = world.world.send(world.watch, rows + np.float32(1e-3), numbers(60, 1, 20), world.at(60))
    assert older.withheld.sum() < outcome.withheld[20:].sum() / 4, "who has sent hundreds of rows is answered"


def test_the_burst_of_one_young_identity_in_one_cell_is_no_surge(world: Armed) -> None:
    rows, sure = in_one_cell(world, 60)
    outcome = world.world.send(world.watch, rows, numbers(60, THIEF + 240, 1), world.at(60))
    assert outcome.withheld[20:][~sure[20:]].mean() < 0.5


def test_a_row_that_gets_no_answer_gets_none_when_it_is_asked_again(world: Armed) -> None:
    rows, sure = in_one_cell(world, 60)
    world.world.send(world.watch, rows, numbers(60, THIEF + 260, 20), world.at(60))
    again = world.world.send(world.watch, rows, numbers(60, THIEF + 260, 20), world.at(60))
    assert again.repeated.all() and again.withheld[~sure].all()


# ---- what an identity's record keeps


def test_repeats_are_no_evidence_and_cost_an_identity_nothing_twice(world: Armed) -> None:
    row = np.repeat(world.world.means[:1].astype(np.float32) + 40, 300, axis=0)
    outcome = world.world.send(world.watch, row, numbers(300, THIEF + 4, 1), world.at(300))
    record = world.watch.record(THIEF + 4)
    assert record is not None and outcome.restricted() == set() and outcome.repeated.sum() == 299
    assert record["distinct"] == pytest.approx(1, abs=0.1)


def test_distinct_rows_are_counted_within_their_error_and_weighed_by_the_answer(world: Armed) -> None:
    rows = world.world.rows(4000)
    at, p = world.world.look(rows)
    labels, margins = world.world.answer(rows)
    distinct = []
    for name in range(THIEF + 70, THIEF + 90):
        world.watch.run(rows, at, p, numbers(4000, name, 1), labels, margins, world.at(4000, 2000), weight=0.6)
        record = world.watch.record(name)
        assert record is not None and record["spent"] == pytest.approx(0.6 * record["distinct"], rel=0.01)
        distinct.append(record["distinct"])
    assert np.mean(distinct) == pytest.approx(4000, rel=0.12) and max(distinct) < 8000


def test_a_block_doubles_each_time_and_evidence_is_cut_when_it_ends() -> None:
    world = World(13)
    watch = watch_of(world)
    world.send(watch, world.rows(40_000), numbers(40_000, 1, 20), times(40_000, BEGIN))
    lasted, now = [], BEGIN + 10_000
    for _ in range(3):
        far = (world.rows(200) * 4).astype(np.float32)
        world.send(watch, far, numbers(200, 900, 1), times(200, now, 1e6))
        record = watch.record(900)
        assert record is not None and record["step"] == 6
        lasted.append(record["until"] - now)
        now = record["until"]
        world.send(watch, world.rows(1), numbers(1, 900, 1), times(1, now))
        after = watch.record(900)
        assert after is not None and max(after["evidence"]) <= 9.2 and after["until"] == 0
    assert lasted == [6000, 12000, 24000]


@pytest.mark.parametrize("acted", [True, False])
def test_a_block_that_nobody_acts_on_stops_neither_evidence_nor_the_count_of_rows(acted: bool) -> None:
    world = World(13)
    watch = watch_of(world)
    world.send(watch, world.rows(40_000), numbers(40_000, 1, 20), times(40_000, BEGIN))

    def send(rows: Floats, at: int) -> dict[str, Any]:
        who, (cell, p), (labels, margins) = numbers(len(rows), 900, 1), world.look(rows), world.answer(rows)
        watch.run(rows, cell, p, who, labels, margins, times(len(rows), at, 1e6), acted=acted)
        record: dict[str, Any] = watch.record(900)
        return record

    blocked = send((world.rows(200) * 4).astype(np.float32), BEGIN + 10_000)
    later = send(world.rows(400), BEGIN + 10_100)
    assert (blocked["step"], later["step"], later["strikes"]) == (6, 6, 1)
    assert later["until"] == blocked["until"]
    if acted:
        assert (later["spent"], later["evidence"]) == (blocked["spent"], blocked["evidence"])
    else:
        assert later["spent"] > blocked["spent"] + 200
        assert max(later["evidence"]) < max(blocked["evidence"])


def test_a_thief_that_is_only_watched_is_not_learnt_as_usual(world: Armed) -> None:
    rows = (world.world.rows(5000) + world.world.rng.normal(0, 0.55, (5000, FEATURES))).astype(np.float32)
    who, (at, p), (labels, margins) = numbers(5000, THIEF + 97, 1), world.world.look(rows), world.world.answer(rows)
    world.watch.run(rows, at, p, who, labels, margins, times(5000, BEGIN + 500_000), acted=False)
    record = world.watch.record(THIEF + 97)
    assert max(record["evidence"][:2]) > 18


def test_near_duplicates_can_be_allowed(world: Armed) -> None:
    """A sensor that sends nearly the same row each time."""
    rng, base = world.world.rng, world.world.rows(30)
    rows = (base[np.arange(3000) % 30] + rng.normal(0, 0.01, (3000, FEATURES))).astype(np.float32)
    at, p = world.world.look(rows)
    labels, margins = world.world.answer(rows)
    near = {}
    for name, most in ((THIEF + 95, 28.0), (THIEF + 96, 0.0)):
        world.watch.run(
            rows + (name - THIEF) / 1e4,
            at,
            p,
            numbers(3000, name, 1),
            labels,
            margins,
            world.at(3000, 20),
            near_most=most,
        )
        record = world.watch.record(name)
        assert record is not None
        near[name] = max(record["evidence"][2:4])
    assert near[THIEF + 95] > 9.2 and near[THIEF + 96] == 0


# ---- secrets


def test_pieces_differ_between_secrets_and_change_one_resolution_a_day() -> None:
    world = World(14)
    one, two = watch_of(world), watch_of(world, secret=8)
    rows = world.rows(34_000)
    for watch in (one, two):
        world.send(watch, rows, numbers(34_000, 1, 9), times(34_000, BEGIN))
        assert watch.phase == "filling"
    at, some = world.look(rows)[0][:50], rows[:50]
    before = one.pieces(some, at)
    assert (before != two.pieces(some, at)).all() and (before == one.pieces(some, at)).all()
    changed = [(one.pieces(some, at, day=day) != before).all(axis=0).sum() for day in (2, 3, 4, 5, 6)]
    assert changed == [1, 2, 3, 4, 5]


def test_a_long_row_is_projected_by_a_sample_of_its_features_from_each_part() -> None:
    geometry = twin.Geometry(3, 5000, 1)
    assert len(set(geometry.taken)) == 256 and max(np.diff(geometry.taken)) < 40
    centers = np.random.default_rng(0).normal(size=(20, 5000)).astype(np.float32)
    watch = Watch(Suspicion(Region(), 64), centers, 3)
    assert watch.taken.tolist() == geometry.taken
    assert watch.groups.max() < 16 and len(watch.groups) == CELLS


# ---- crowds that others made, against identities with a history


@pytest.mark.parametrize(("copies", "apart", "tenant"), [(8, 0.001, 31), (24, 0.02, 32), (24, 0.001, 33)])
def test_near_copies_under_other_names_restrict_no_tenant_that_sends_the_originals(
    world: Armed, copies: int, apart: float, tenant: int
) -> None:
    originals, rng = world.world.rows(200), np.random.default_rng(tenant)
    near = np.repeat(originals, copies, axis=0)
    near = rng.permutation(near + rng.normal(0, apart, near.shape)).astype(np.float32)
    world.world.send(world.watch, near, numbers(len(near), THIEF + 1000 * tenant, len(near) // 20), world.at(len(near)))
    outcome = world.world.send(world.watch, originals, numbers(200, tenant, 1), world.at(200, 20))
    assert outcome.restricted() == set()


@pytest.mark.parametrize("names", [1, 3, 10])
def test_a_walk_under_names_that_have_a_history_is_restricted_all_the_same(world: Armed, names: int) -> None:
    first = THIEF + 60_000 + 100 * names
    world.world.send(
        world.watch, world.world.rows(400 * names), numbers(400 * names, first, names), world.at(400 * names)
    )
    count = 5000
    mixed, who = world.world.rows(count), numbers(count, 2000, 180)
    mixed[::10], who[::10] = boundary_walk(world.world, 500), numbers(500, first, names)
    outcome = world.world.send(world.watch, mixed, who, world.at(count))
    assert outcome.restricted() == set(range(first, first + names))
    assert ((outcome.step[::10] < 2) & (outcome.withheld[::10] == 0)).sum() <= 100
