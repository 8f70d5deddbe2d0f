import numpy as np
import pytest

from modelward.drift.report import side_of
from modelward.drift.samples import KEPT, Recent, Reservoir
from modelward.drift.signals import Signals
from modelward.drift.table import Column, Kind, silence
from modelward.drift.watch import LEARNT_FROM, LONGEST_WAIT, Watch, fair
from tests.proxy.drift.made import NAMES, feed, rows, table, watching


def shifted(rng, count):
    values = rows(rng, count)
    values[:, 2] += 3.0
    return values


def wider(rng, count):
    values = rows(rng, count)
    values[:, 1] = values[:, 1] * 3
    return values


def mixed(rng, count):
    return rows(rng, count, second=0.6)


def rounded(rng, count):
    values = rows(rng, count)
    values[:, 3] = np.round(values[:, 3])
    return values


def missing(rng, count):
    values = rows(rng, count)
    values[rng.random(count) < 0.1, 0] = np.nan
    return values


def uncorrelated(rng, count):
    """Each column by itself is what it was."""
    return np.stack([rows(rng, count)[:, i] for i in range(6)], 1)


CHANGES = {
    shifted: ("x2", 300),
    wider: ("x1", 600),
    mixed: (None, 800),
    rounded: ("whole numbers", 200),
    missing: ("x0", 400),
    uncorrelated: (None, 600),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_kind_of_change_is_found_soon_and_its_beginning_told(change):
    signal, most = CHANGES[change]
    watch = watching(false_alarms=1e7)
    began = float(watch.rows)
    took = feed(watch, change, np.random.default_rng(5), 4096, begin=began, until_raised=True)
    assert watch.raised is not None and took <= most
    assert abs(watch.raised.since - began) <= max(128, took)
    told = {each["name"] for each in side_of(watch)["signals"] if each["moved"]}
    assert signal is None or signal in told


def test_without_change_there_are_no_more_alarms_than_stated():
    """5 watches of 60,000 rows each at 1 in 20,000: 15 are allowed, far fewer come."""
    alarms = 0
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        watch = Watch(NAMES, 20_000, 0.0, seed)
        for begin in range(0, 60_000, 2000):
            before = watch.raised
            watch.add(table(rows(rng, 2000), begin=float(begin)))
            alarms += watch.raised is not None and before is None
    assert watch.rows == 60_000 and alarms <= 3


def test_a_change_within_the_tolerance_is_none():
    watch = watching(false_alarms=1000, tolerance=0.02)
    rng = np.random.default_rng(2)
    feed(watch, lambda rng, n: rows(rng, n, second=0.26), rng, 40_000, block=1000)
    assert watch.rows > 40_000 and watch.raised is None


def test_an_alarm_stands_while_the_change_lasts_and_ends_with_it():
    watch, rng = watching(), np.random.default_rng(3)
    feed(watch, shifted, rng, 20_000, block=500)
    raised = watch.raised
    assert raised is not None
    assert feed(watch, rows, rng, 20_000, block=500) and watch.raised is None


def test_one_client_alone_makes_no_drift_by_sending_more():
    """A tenth identity sends a hundred times what each other does: it has two tenths of what is judged."""
    rng = np.random.default_rng(4)
    flood = table(np.concatenate([rows(rng, 9), rows(rng, 900) + 9.0]), identity=[*range(9), *[9] * 900])
    kept = fair(flood)
    assert len(kept) == 9 + np.ceil(2 * 909 / 10)
    assert (kept.identity == 9).sum() == np.ceil(2 * 909 / 10)


def test_few_rows_wait_for_more_but_not_for_long():
    watch = watching()
    before = watch.rows
    values = rows(np.random.default_rng(0), 3)
    watch.add(table(values, begin=1e6))
    assert watch.rows == before
    watch.add(table(values + 1, begin=1e6 + LONGEST_WAIT))
    assert watch.rows == before + 6


def test_categories_are_learnt_and_new_ones_seen():
    column = (Column("colour", Kind.CATEGORY),)

    def colours(rng, count, new=0.0):
        values = rng.choice([1e18, 2e18, 3e18], (count, 1), p=[0.5, 0.3, 0.2])
        values[rng.random(count) < new] = 7e18
        return values

    watch, rng = Watch(column, 1e5, 0.005), np.random.default_rng(0)
    for i in range(50):
        watch.add(table(colours(rng, 64), columns=column, identities=64, begin=64.0 * i))
    assert watch.raised is None and watch.rows == 50 * 64
    took = 0
    while watch.raised is None and took < 2000:
        watch.add(table(colours(rng, 64, 0.1), columns=column, identities=64, begin=4000.0 + took))
        took += 64
    told = side_of(watch)["signals"][0]
    assert took <= 512 and told["name"] == "colour" and told["after"]["unknown"] > 0.03


def test_the_report_tells_how_much_moved_and_through_whom():
    """x2 moves for one tenant of four: it carries the change, by what it sends and not by how much."""
    watch, rng = watching(), np.random.default_rng(6)
    identity = np.arange(64) % 4

    def of_tenant(rng, count):
        values = rows(rng, count)
        values[identity == 3, 2] += 6.0
        return values

    for i in range(32):
        watch.add(table(rows(rng, 64), identity=identity, begin=4096.0 + 64 * i))
    assert watch.raised is None
    for i in range(16):
        watch.add(table(of_tenant(rng, 64), identity=identity, begin=6144.0 + 64 * i))
    told = next(each for each in side_of(watch)["signals"] if each["name"] == "x2")
    assert told["moved"] and told["after"]["high"] > told["before"]["high"] + 1
    assert 0.05 < told["distance"] < 0.4 and told["mix"] < 0.5
    assert told["identities"][0]["identity"] == f"{3:016x}" and told["identities"][0]["contribution"] > 0.5
    assert sum(bar["after"] for bar in told["bars"]) == pytest.approx(1)


def test_samples_have_fixed_room_and_the_reservoir_is_even():
    recent, reservoir = Recent(NAMES), Reservoir(NAMES, np.random.default_rng(0))
    for i in range(40):
        values = np.full((100, 6), float(i))
        recent.add(table(values))
        reservoir.add(table(values))
    assert len(recent.table()) == len(reservoir.table()) == KEPT
    assert recent.table().values.min() >= 29
    assert reservoir.table().values[:, 0].mean() == pytest.approx(19.5, abs=1.5)


def test_odd_columns_are_watched_too():
    """Constant, never there, without end, and whole numbers."""
    rng = np.random.default_rng(0)

    def odd(count):
        values = rows(rng, count)
        values[:, 0], values[:, 1] = 5.0, np.nan
        values[:, 2] = np.inf
        values[:, 3] = rng.integers(0, 3, count)
        return values

    watch = Watch(NAMES, 1e5, 0.005)
    watch.add(table(odd(LEARNT_FROM)))
    for i in range(20):
        watch.add(table(odd(64), begin=1000.0 + 64 * i))
    assert watch.raised is None and not watch.is_learning
    assert {each["name"] for each in side_of(watch)["signals"]}
    assert Signals.learn(table(odd(600)), rng).all[0].bins(np.array([4.9, 5.0, 5.1])).tolist() == [1, 2, 3]


ASKED_LESS = [3, 4, 5]


def asked_less(values, who):
    """Of the rows `who` the last columns were not asked for."""
    for column in ASKED_LESS:
        silence(values[:, column], who)
    return values


def test_clients_that_ask_for_less_are_no_drift_of_what_they_leave_out():
    """A third of all rows begins to ask for half of the columns; then what the others ask for changes, and is found."""
    watch, rng = watching(false_alarms=1000), np.random.default_rng(8)
    identity = np.arange(64) % 30
    for i in range(60):
        watch.add(table(asked_less(rows(rng, 64), identity < 10), identity=identity, begin=4096.0 + 64 * i))
    assert watch.raised is None
    since = 4096.0 + 64 * 60
    for i in range(20):
        values = rows(rng, 64)
        values[:, 4] += 3.0
        watch.add(table(asked_less(values, identity < 10), identity=identity, begin=since + 64 * i))
    assert watch.raised is not None and abs(watch.raised.since - since) <= 256
    moved = next(each for each in side_of(watch)["signals"] if each["name"] == "x4")
    assert moved["moved"] and moved["after"]["missing"] == 0
    assert sum(bar["after"] for bar in moved["bars"]) == pytest.approx(1)


def test_what_few_identities_ask_for_is_not_judged_by_their_rows_alone():
    """One of thirty asks for what all others leave out, and sends something else for it, in blocks of its own too."""
    watch, rng = Watch(NAMES, 1000, 0.005), np.random.default_rng(9)
    identity = np.arange(64) % 30
    for i in range(60):
        values = asked_less(rows(rng, 64), identity > 0)
        watch.add(table(values, identity=identity, begin=4096.0 + 128 * i))
        alone = rows(rng, 64)
        alone[:, ASKED_LESS] += 0.2 * i
        for column in range(3):
            silence(alone[:, column], np.ones(64, bool))
        watch.add(table(alone, identity=np.zeros(64), begin=4096.0 + 128 * i + 64))
    assert watch.raised is None


def test_without_change_silent_cells_make_no_more_alarms_than_stated():
    """3 watches of 20,000 rows at 1 in 10,000, of which every other row is silent in half of the columns."""
    alarms = 0
    for seed in range(3):
        rng = np.random.default_rng(200 + seed)
        watch = Watch(NAMES, 10_000, 0.0, seed)
        for begin in range(0, 20_000, 2000):
            before = watch.raised
            values = rows(rng, 2000)
            watch.add(table(asked_less(values, rng.random(2000) < 0.5), begin=float(begin)))
            alarms += watch.raised is not None and before is None
    assert alarms <= 3


def test_columns_that_no_row_has_said_anything_of_are_watched_without_alarm():
    watch, rng = Watch(NAMES, 1e5, 0.005), np.random.default_rng(0)
    for i in range(40):
        watch.add(table(asked_less(rows(rng, 64), np.ones(64, bool)), begin=64.0 * i))
    assert not watch.is_learning and watch.raised is None
    assert {each["name"] for each in side_of(watch)["signals"]}
