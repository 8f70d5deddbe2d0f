import pytest

from tests.bench.nested import leave_one_out, lines


def test_a_table_that_is_left_out_has_no_part_in_the_choice():
    tables = {"a": {"one": 0.9, "other": 0.5}, "b": {"one": 0.6, "other": 0.7}, "c": {"one": 0.6, "other": 0.7}}
    found = leave_one_out(tables)
    assert found.designs == pytest.approx({"one": 0.7, "other": 0.6333}, abs=1e-4)
    # Without a, other is the best; without b or c, one is.
    assert found.best == pytest.approx((0.5 + 0.6 + 0.6) / 3)
    assert found.taken == {"other": 1, "one": 2}


def test_designs_that_the_others_cannot_tell_apart_share_the_figure():
    tables = {
        name: {"one": 0.8 + d, "other": 0.8 - d, "bad": 0.5} for name, d in zip("abcd", (0.01, -0.01) * 2, strict=True)
    }
    found = leave_one_out(tables)
    assert found.alike == pytest.approx(0.8)
    assert found.among == {"one": 4, "other": 4}


def test_every_design_and_both_figures_are_told():
    found = leave_one_out({"a": {"one": 0.9}, "b": {"one": 0.7}, "c": {"one": 0.8}})
    told = "\n".join(lines(found))
    assert "| one | 0.8000 | 3 | 3 |" in told
    assert "| left out: the best | 0.8000 |" in told
