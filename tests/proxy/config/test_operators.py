"""The section `operators`."""

import pytest
from pydantic import ValidationError

from modelward.config.changes import changed_rights, followed, is_of_rights
from modelward.config.operators import Operators
from modelward.config.schema import Config

JWT = {"issuer": "https://a.example", "audience": "admin", "jwks": "keys.json"}
OTHER = {**JWT, "issuer": "https://b.example"}
UNIX = {"admin": "unix:/run/admin.sock"}
PAIR = {"certificate": "s.pem", "key": "s.key"}
MTLS = {**PAIR, "client_ca": "ca.pem"}


def bound(**binding: object) -> dict[str, object]:
    return {"bindings": [{"roles": ["viewer"], **binding}]}


def test_one_item_stands_for_a_list_and_all_models_are_the_default() -> None:
    operators = Operators.model_validate(
        {"bindings": [{"user": 1000, "roles": "oncall"}], "roles": {"oncall": "operator"}, "break_glass": "oncall"}
    )
    (binding,) = operators.bindings
    assert (binding.roles, binding.models, operators.break_glass) == (("oncall",), ("*",), ("oncall",))
    assert (operators.roles, binding.kind, binding.words) == ({"oncall": ("operator",)}, "user", "user 1000")


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (bound(), "this one has none"),
        (bound(user="a", group="b"), "this one has user and group"),
        (bound(user="a", issuer="i"), "issuer is set and token is not"),
        (bound(user=-1), "greater than or equal to 0"),
        (bound(user="a", roles=["viewr"]), r"bindings\[0\].roles: 'viewr' is no role"),
        (bound(user="a", roles=["promote"]), "'promote' is no role"),
        (bound(user="a", roles=[]), "at least 1"),
        (bound(user="a", models=[]), "at least 1"),
        ({"roles": {"viewer": ["status"]}}, "roles.viewer: the name is taken"),
        ({"roles": {"promote": ["status"]}}, "roles.promote: the name is taken"),
        ({"roles": {"oncall": ["operater"]}}, "'operater' is no role and no verb"),
        ({"roles": {"On Call": ["operator"]}}, "should match pattern"),
        ({"roles": {"oncall": []}}, "at least 1"),
        ({"roles": {"a": ["operator"], "b": ["a"]}}, "'a' is no role and no verb"),
        ({"break_glass": ["nobody"]}, "break_glass: 'nobody' is no role"),
        ({"tokens": [JWT, JWT]}, "https://a.example is there more than once"),
        (bound(token="a"), "no token is accepted"),
        ({"tokens": [JWT], **bound(token="a", issuer="https://c.example")}, "is none of operators.tokens"),
        ({"tokens": [JWT, OTHER], **bound(token="a")}, "may give the same name to two people"),
    ],
)
def test_what_makes_no_sense_is_refused(section: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Operators.model_validate(section)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"operators": bound(certificate="a")}, "no client certificate is ever asked for"),
        ({"operators": bound(certificate="a"), "listen": UNIX}, "no client certificate is ever asked for"),
        ({"operators": bound(user="a")}, "is for a user and listen.admin is 127.0.0.1:8003"),
        ({"operators": bound(group="a")}, "is for a group and listen.admin is 127.0.0.1:8003"),
        ({"operators": bound(user=65534), "listen": UNIX}, "stands for every user that the kernel cannot name"),
        ({"operators": bound(group="65534"), "listen": UNIX}, "stands for every group that the kernel cannot name"),
        ({"admin_tls": PAIR}, "admin_tls has no client_ca, and nothing else proves who calls"),
        ({"operators": {}, "admin_tls": PAIR}, "admin_tls has no client_ca, and nothing else proves who calls"),
        (
            {"operators": {"tokens": [JWT], **bound(certificate="a")}, "admin_tls": PAIR},
            "no client certificate is ever asked for",
        ),
        ({"operators": {}, "listen": {"admin": "off"}}, "operators is set and listen.admin is off"),
    ],
)
def test_a_binding_that_can_match_nobody_is_refused(config: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Config.model_validate(config)


def test_all_bindings_for_a_certificate_are_named_at_once() -> None:
    each = {"certificate": "a", "roles": ["viewer"]}
    told = r"bindings\[0\] is for a certificate \(so is \[1\]\) and no client certificate is ever asked for"
    with pytest.raises(ValidationError, match=told):
        Config.model_validate({"operators": {"bindings": [each, each]}})


def test_bindings_that_can_match_are_taken() -> None:
    assert Config.model_validate({"operators": bound(user="a"), "listen": UNIX}).operators
    assert Config.model_validate({"operators": bound(certificate="a"), "admin_tls": MTLS}).operators
    assert Config.model_validate({"operators": {"tokens": [JWT], **bound(token="a")}}).operators
    assert Config.model_validate({"operators": {"tokens": [JWT], **bound(token="a")}, "admin_tls": PAIR}).operators
    two = {"tokens": [JWT, OTHER], **bound(token="a", issuer=JWT["issuer"])}
    assert Config.model_validate({"operators": two}).operators


def test_operators_are_turned_on_and_off_by_a_restart_alone() -> None:
    without = Config.model_validate({"listen": UNIX})
    having = Config.model_validate({"operators": bound(user=1), "listen": UNIX})
    for now, wanted in ((without, having), (having, without)):
        config, restart = followed(now, wanted)
        assert (config.operators, restart) == (now.operators, ["operators"])


def test_approvals_are_turned_on_and_off_with_operators() -> None:
    without = Config.model_validate({"listen": UNIX})
    having = Config.model_validate({"operators": bound(user=1), "listen": UNIX, "approvals": {}})
    fewer = Config.model_validate({"operators": bound(user=1), "listen": UNIX})
    for now, wanted in ((without, having), (having, without)):
        config, restart = followed(now, wanted)
        assert (config.approvals, restart) == (now.approvals, ["operators", "approvals"])
    assert followed(having, fewer)[0].approvals is None, "without operators they would be of nobody"


def test_a_change_of_operators_is_one_of_rights() -> None:
    before = Config.model_validate({"operators": bound(user=1), "listen": UNIX})
    after = Config.model_validate({"operators": bound(user=2), "listen": UNIX})
    limited = Config.model_validate({"operators": bound(user=1), "listen": UNIX, "limits": {"streams": 7}})
    assert changed_rights(before, after) == ["operators"]
    assert changed_rights(before, Config.model_validate({"listen": UNIX})) == ["operators"]
    assert changed_rights(before, limited) == []


def test_a_declared_signature_is_one_of_rights_where_it_takes_versions_out_of_approvals() -> None:
    plain = {"operators": bound(user=1), "listen": UNIX}
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    signature = {"inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}
    own, declared = {"upstreams": ["a:1"]}, {"upstreams": ["a:1"], "signature": signature}
    other = {**declared, "signature": {**signature, "outputs": [tensor]}}
    for approvals, told in (({"promote": 1}, ["models.m.signature"]), ({"promote": 0}, []), (None, [])):
        before, after, changed = (
            Config.model_validate({**plain, "approvals": approvals, "models": {"m": each}})
            for each in (own, declared, other)
        )
        assert changed_rights(before, after) == changed_rights(after, changed) == told
    assert is_of_rights("models.m.signature")
