"""How seldom drift may alarm wrongly, as it is written."""

import pytest

from modelward.config.load import Unusable, load
from tests.support import ANYWHERE


@pytest.mark.parametrize("number", ["10,000", "10,000,000"])
def test_a_rate_with_commas_is_one_problem_that_says_what_to_write(number: str) -> None:
    sets = [f"{key}={value}" for key, value in ANYWHERE.items()]
    sets += ["upstreams=[localhost:1]", f"models.m.drift={{false_alarms: 1 in {number}}}"]
    with pytest.raises(Unusable) as found:
        load(sets=sets, environ={})
    (problem,) = found.value.problems
    assert problem.how == f"Write 1 in {number.replace(',', '')}, without commas"
