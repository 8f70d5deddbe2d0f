"""What a watch has learnt, written and read again."""

import json

import numpy as np
import pytest

from modelward.drift import store as stores
from modelward.drift.state import StateError, columns_of, state_of, watch_of
from modelward.drift.store import Kept, Store
from modelward.drift.table import Column, Kind
from modelward.drift.watch import Watch
from tests.proxy.drift.made import NAMES, feed, rows, table, watching


def moved(rng, count):
    return rows(rng, count) + 1.0


def kept(watch, **fields):
    told = {"model": "m", "version": "1", "digest": "ab", "settings": "{}", "sides": {"inputs": state_of(watch)}}
    return Kept(**(told | fields))


def again(store):
    """The watch of the only file."""
    (found,) = store.load()
    assert isinstance(found, Kept), found
    return resumed(*found.sides["inputs"])


def resumed(facts, arrays):
    return watch_of(facts, arrays, Watch(columns_of(facts), 1e5, 0.005, seed=1))


def test_a_watch_goes_on_where_it_was(tmp_path):
    watch = watching()
    feed(watch, rows, np.random.default_rng(2), 9, block=9)
    Store(tmp_path / "drift").save(kept(watch))
    found = again(Store(tmp_path / "drift"))
    assert (found.rows, found.requests, found.columns) == (watch.rows, watch.requests, watch.columns)
    assert found.nats() == pytest.approx(watch.nats())
    assert found.waits == watch.waits == 9
    assert (found.recent.in_order().values == watch.recent.in_order().values).all()
    assert (found.before.table().time == watch.before.table().time).all()
    took = [feed(each, moved, np.random.default_rng(3), 2048, until_raised=True) for each in (watch, found)]
    assert took[0] == took[1] < 300
    assert found.raised.first < len(found.signals.all)


def test_what_is_drawn_after_it_is_not_what_was_drawn_before(tmp_path):
    watch = watching()
    facts, arrays = state_of(watch)
    one = watch_of(facts, arrays, Watch(NAMES, 1e5, 0.005, seed=7))
    assert one.ranks._rng is one.rng is not watch.rng


def test_an_alarm_stands_after_it(tmp_path):
    watch = watching()
    feed(watch, moved, np.random.default_rng(3), 2048, until_raised=True)
    Store(tmp_path).save(kept(watch))
    found = again(Store(tmp_path))
    assert found.raised == watch.raised
    feed(found, rows, np.random.default_rng(4), 8192, begin=1e6)
    assert found.raised is None, "it ends as it would have ended"


def test_what_is_half_learnt_is_not_lost(tmp_path):
    watch = Watch(NAMES, 1e5, 0.005)
    watch.add(table(rows(np.random.default_rng(0), 1000)))
    Store(tmp_path).save(kept(watch))
    found = again(Store(tmp_path))
    assert found.is_learning
    found.add(table(rows(np.random.default_rng(1), 24), begin=1000.0))
    assert not found.is_learning and found.rows == 1024


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_column_is_kept(tmp_path, kind):
    columns = (Column("c", kind),)
    watch = Watch(columns, 1e5, 0.005)
    watch.add(table(np.random.default_rng(0).integers(0, 5, (1200, 1)) / 7.0, columns=columns))
    Store(tmp_path).save(kept(watch))
    assert again(Store(tmp_path)).nats() == pytest.approx(watch.nats())


def test_a_file_with_one_wrong_bit_is_not_used(tmp_path):
    Store(tmp_path).save(kept(watching()))
    (file,) = tmp_path.glob("*.drift")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    (found,) = Store(tmp_path).load()
    assert isinstance(found, StateError) and "damaged" in str(found) and file.name in str(found)


@pytest.mark.parametrize("data", [b"", b"modelward drift 2 ab\n", b"PK\5\6", b"\0" * 100])
def test_a_file_of_another_format_is_not_used(tmp_path, data):
    (tmp_path / "x.drift").write_bytes(data)
    (found,) = Store(tmp_path).load()
    assert isinstance(found, StateError) and "format" in str(found)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    Store(tmp_path).save(kept(watching()))
    monkeypatch.setattr(stores, "LARGEST_FILE", 1000)
    (found,) = Store(tmp_path).load()
    assert isinstance(found, StateError)


def wrong_shape(facts, arrays):
    arrays["counts"] = arrays["counts"][:, :-1]


def column_that_is_not_there(facts, arrays):
    arrays["numbers"] = arrays["numbers"] + len(facts["columns"])


def signal_without_edges(facts, arrays):
    arrays["edge_counts"] = arrays["edge_counts"][:-1]


def falling_edges(facts, arrays):
    arrays["edges"] = arrays["edges"][::-1].copy()


def alarm_of_no_signal(facts, arrays):
    facts["raised"] = [0.0, 0.0, 1000]


def missing_array(facts, arrays):
    del arrays["cusums"]


def not_a_number(facts, arrays):
    arrays["directions"] = arrays["directions"] * np.nan


def fewer_rows_than_seen(facts, arrays):
    for name in ("values", "identity", "time"):
        arrays[f"before_{name}"] = arrays[f"before_{name}"][:-1]


def rows_that_are_text(facts, arrays):
    facts["rows"] = "many"


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_shape,
        column_that_is_not_there,
        signal_without_edges,
        falling_edges,
        alarm_of_no_signal,
        missing_array,
        not_a_number,
        fewer_rows_than_seen,
        rows_that_are_text,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_what_no_watch_can_have_is_refused(spoil):
    facts, arrays = state_of(watching())
    facts, arrays = json.loads(json.dumps(facts)), dict(arrays)
    resumed(facts, arrays)
    spoil(facts, arrays)
    with pytest.raises(StateError):
        resumed(facts, arrays)


def test_versions_that_are_not_watched_any_more_are_forgotten(tmp_path):
    store, watch = Store(tmp_path), watching()
    store.save(kept(watch))
    store.save(kept(watch, version="../2"))
    store.forget([("m", "../2")])
    assert [each.key for each in store.load() if isinstance(each, Kept)] == [("m", "../2")]
