"""Where the admin API listens: this machine alone, unless its clients show certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.config.address import Address
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.problem import ProblemsFound

MTLS = "admin_tls={certificate: a.pem, key: a.key, client_ca: ca.pem}"


def config(*sets: str, file: Path | None = None) -> Config:
    return load(file, sets, environ={})


def problem(*sets: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        config(*sets)
    return str(found.value)


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert config().listen.admin == Address(host="127.0.0.1", port=8003)
    assert config("listen.admin=unix:/run/admin.sock").listen.admin == Address(path="/run/admin.sock")
    off = config("listen.admin=off")
    assert off.listen.admin is None
    assert off.model_dump(mode="json")["listen"]["admin"] == "off"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1", "unix:/run/admin.sock"])
def test_an_address_of_this_machine_needs_no_certificates(address: str) -> None:
    assert str(config(f"listen.admin={address}").listen.admin) == address


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1", "127.0.0.1.example:1"])
def test_an_address_that_others_reach_is_refused_without_them(address: str) -> None:
    told = problem(f"listen.admin={address}")
    assert "which other machines reach, and there is no admin_tls" in told
    assert "Set admin_tls: {certificate, key, client_ca}" in told
    assert config(f"listen.admin={address}", MTLS).admin_tls is not None


def test_all_three_files_are_needed() -> None:
    told = problem("admin_tls={certificate: a.pem, key: a.key}")
    assert "admin_tls has no client_ca, and nothing else proves who calls" in told


@pytest.mark.parametrize("address", ["off", "unix:/run/admin.sock"])
def test_certificates_where_they_mean_nothing_are_an_error(address: str) -> None:
    assert f"admin_tls is set and listen.admin is {address}" in problem(f"listen.admin={address}", MTLS)


def test_its_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "modelward.yaml"
    file.write_text("admin_tls: {certificate: a.pem, key: a.key, client_ca: ca.pem}\n")
    tls = config(file=file).admin_tls
    assert tls is not None
    assert (tls.certificate, tls.key, tls.client_ca) == tuple(tmp_path / name for name in ("a.pem", "a.key", "ca.pem"))


def test_no_two_listeners_share_an_address() -> None:
    assert "listen.http and listen.admin are both [::1]:9" in problem("listen={http: '[::1]:9', admin: '[::1]:9'}")
