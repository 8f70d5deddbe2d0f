"""Each call of the admin API has one row in the table of rights."""

from modelward.admin.messages import SERVICE
from modelward.admin.needs import NEEDS
from modelward.operators.verbs import OF_SERVER, VERBS
from modelward.rpc.protocol import pool


def test_every_method_has_a_row_and_no_row_is_left_over() -> None:
    described = pool().FindServiceByName(SERVICE)
    assert {*NEEDS} == {*described.methods_by_name}, "write a row into modelward/admin/needs.py"


def test_rows_fit_the_verbs_and_the_requests() -> None:
    for name, need in NEEDS.items():
        if need.verb is None:
            assert name in ("WhoAmI", "CanI"), f"{name} is open to every operator"
            continue
        assert need.verb in VERBS
        request = pool().FindServiceByName(SERVICE).methods_by_name[name].input_type
        if need.of != "seen":  # these may be of all models that the operator may see
            assert (need.of == "model") == ("model" in request.fields_by_name), name
        assert need.of == "server" or need.verb not in OF_SERVER, name
