"""What may be the name of a caller, and which a certificate proves."""

import pytest

from modelward.access.names import LONGEST, common_name, is_name, of_certificate


@pytest.mark.parametrize(
    "name",
    ["a", "team a", "josé", "spiffe://prod", "spiffe://prod.example/ns/a/sa/b", "user@example.com", "x" * LONGEST],
)
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * (LONGEST + 1),
        "é" * LONGEST,
        "a\nb",
        "a\x00b",
        "\x1b[31m",
        "\ud800",
        "a\u202eb",
        None,
        7,
        ["a"],
        "spiffe://",
        "spiffe:/prod/a",
        "SPIFFE://prod/a",
        "spiffe://Prod/a",
        "spiffe://prod/",
        "spiffe://prod//a",
        "spiffe://prod/a/../b",
        "spiffe://prod/./b",
        "spiffe://prod/a/..",
        "spiffe://prod/%2e%2e/b",
        "spiffe://prod/a?b",
        "spiffe://user@prod/a",
        "spiffe://prod:443/a",
    ],
)
def test_what_is_no_name(name: object) -> None:
    assert not is_name(name)


def certificate(*names: tuple[str, str]) -> dict[str, object]:
    return {"subject": ((("commonName", "root"),),), "subjectAltName": names}


def test_a_certificates_uri_counts_before_its_dns_name_and_that_before_its_address() -> None:
    uri, dns, email = ("URI", "spiffe://prod/a"), ("DNS", "a.example"), ("email", "a@example.com")
    assert of_certificate(certificate(email, dns, uri)) == "spiffe://prod/a"
    assert of_certificate(certificate(email, dns, ("DNS", "b.example"))) == "a.example"
    assert of_certificate(certificate(email)) == "a@example.com"


def test_a_certificate_without_one_clear_name_gives_no_identity() -> None:
    assert of_certificate(certificate()) is None
    assert of_certificate({}) is None
    assert of_certificate(certificate(("URI", "spiffe://prod/a"), ("URI", "spiffe://prod/b"))) is None
    assert of_certificate(certificate(("URI", "spiffe://prod/../b"), ("DNS", "a.example"))) is None
    assert of_certificate(certificate(("IP Address", "127.0.0.1"))) is None


@pytest.mark.parametrize(
    "name",
    [
        ("DNS", "spiffe://prod/a"),
        ("DNS", "x, URI:spiffe://prod/a"),
        ("DNS", "a@example.com"),
        ("email", "spiffe://prod/a@b"),
        ("email", "a.example"),
        ("URI", "a.example"),
    ],
)
def test_a_name_in_the_form_of_another_kind_is_none(name: tuple[str, str]) -> None:
    assert of_certificate(certificate(name)) is None


def test_other_kinds_are_passed_over() -> None:
    others = [("DirName", ((("commonName", "ada"),),)), ("othername", "<unsupported>"), ("Registered ID", "1.2.3")]
    assert of_certificate(certificate(*others)) is None
    assert of_certificate(certificate(*others, ("DNS", "a.example"))) == "a.example"


def test_a_common_name_is_of_certificates_without_other_names() -> None:
    subject = ((("organizationName", "o"),), (("commonName", "ada"),))
    assert common_name({"subject": subject}) == "ada"
    assert common_name({"subject": subject, "subjectAltName": (("IP Address", "127.0.0.1"),)}) is None
    assert common_name({}) is None
