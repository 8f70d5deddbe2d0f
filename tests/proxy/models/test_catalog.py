from __future__ import annotations

import pytest

from modelward.models.catalog import Catalog, version_order
from modelward.problem import ProblemsFound
from modelward.rpc.protocol import Code, RpcError
from tests.proxy.server.catalogs import version


def refusal(catalog: Catalog, name: str, number: str = "") -> RpcError:
    with pytest.raises(RpcError) as refused:
        catalog.lookup(name, number)
    assert refused.value.code is Code.NOT_FOUND
    return refused.value


def test_versions_ascend_as_numbers_not_as_text() -> None:
    catalog = Catalog(version("m", number) for number in ("10", "9", "100"))
    assert [v.version for v in catalog.versions("m")] == ["9", "10", "100"]


def test_the_highest_version_answers_when_none_is_asked_for() -> None:
    assert Catalog([version("m", "10"), version("m", "9")]).lookup("m").version == "10"


def test_a_version_that_is_no_number_never_becomes_the_default() -> None:
    assert Catalog([version("m", "1"), version("m", "canary")]).lookup("m").version == "1"
    assert version_order("canary") < version_order("0")


def test_a_version_is_found_by_exactly_its_own_text() -> None:
    catalog = Catalog([version("m", "1")])
    assert catalog.lookup("m", "1").version == "1"
    assert refusal(catalog, "m", "01").reason == "UNKNOWN_VERSION"


def test_models_keep_the_order_they_were_given_in() -> None:
    catalog = Catalog([version("b", "1"), version("a", "1"), version("b", "2")])
    assert catalog.names == ("b", "a")
    assert [(v.name, v.version) for v in catalog] == [("b", "1"), ("b", "2"), ("a", "1")]
    assert len(catalog) == 3


def test_one_version_cannot_be_served_twice() -> None:
    with pytest.raises(ProblemsFound, match="model m version 1: the version is in the repository and on an upstream"):
        Catalog([version("m", "1"), version("m", "1")])


def test_a_misspelt_name_is_answered_with_the_near_ones() -> None:
    catalog = Catalog([version("fraud", "1"), version("fraud-lite", "1"), version("churn", "1")])
    assert refusal(catalog, "fruad").message.startswith("unknown model 'fruad': did you mean fraud")


def test_a_name_like_no_other_is_answered_with_what_there_is() -> None:
    catalog = Catalog(version(name, "1") for name in ("fraud", "churn", "spam", "credit", "risk"))
    assert refusal(catalog, "zzz").message == "unknown model 'zzz': served are fraud, churn, spam and 2 more"
    assert refusal(Catalog([]), "zzz").message == "unknown model 'zzz': no model is served"


def test_a_huge_name_costs_nothing_and_is_not_repeated() -> None:
    assert len(refusal(Catalog([version("fraud", "1")]), "f" * 1_000_000).message) < 250


def test_an_unknown_version_lists_the_newest_only() -> None:
    catalog = Catalog(version("m", str(number)) for number in range(1, 21))
    message = refusal(catalog, "m", "99").message
    assert message == "model 'm' has no version '99': there are 13, 14, 15, 16, 17, 18, 19, 20 and 12 older"


def test_what_is_not_ready_is_listed_with_its_reason() -> None:
    catalog = Catalog(
        [version("m", "1"), version("m", "2", ready=False), version("n", "1", ready=False, reason="no such file")]
    )
    assert catalog.not_ready() == ["m version 2: loading", "n version 1: no such file"]


def test_a_version_that_becomes_warm_is_ready_in_the_same_catalog() -> None:
    catalog = Catalog([version("m", "1", ready=False)])
    catalog.lookup("m").ready = True
    assert catalog.not_ready() == []


def test_a_versions_share_is_its_weights_part_and_the_newest_has_all_where_there_are_none() -> None:
    catalog = Catalog(
        [version("a", "1"), version("a", "2"), version("b", "1"), version("b", "2")], {"a": {"1": 3, "2": 1}}
    )
    assert catalog.shares == {"a": {"1": 0.75, "2": 0.25}, "b": {"1": 0.0, "2": 1.0}}


def test_a_version_that_is_refused_for_two_reasons_is_told_once() -> None:
    catalog = Catalog((), refused=[("m", "1", "not signed"), ("m", "2", "damaged"), ("m", "1", "not promoted")])
    assert catalog.refused == (("m", "1", "not signed"), ("m", "2", "damaged"))


def test_a_model_that_no_version_may_answer_is_unavailable_and_not_unknown() -> None:
    catalog = Catalog((), held={"m": False})
    with pytest.raises(RpcError) as error:
        catalog.lookup("m", "1")
    assert (error.value.code, error.value.reason) == (Code.UNAVAILABLE, "NO_VERSION")
    with pytest.raises(RpcError) as error:
        catalog.lookup("other")
    assert error.value.code == Code.NOT_FOUND
