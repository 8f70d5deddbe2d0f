"""Where the audit log of several servers is kept, without its password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from modelward.config.postgres import Postgres


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://modelward:secret@db/audit",
        "postgresql://modelward:@db/audit",
        "postgresql://db/audit?password=secret",
        "postgresql://db/audit?sslpassword=secret",
        "postgresql:///audit?passfile=/secret",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Postgres(url=url)
    (error,) = refused.value.errors(include_input=False, include_url=False)
    assert "holds a password" in error["msg"]
    assert "secret" not in json.dumps(error, default=str)


@pytest.mark.parametrize("url", ["mysql://db/audit", "db", "", "postgresql://[db/audit"])
def test_what_is_no_url_of_a_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="this is no URL"):
        Postgres(url=url)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgresql:///audit?host=/run/postgresql", {}),
        ("postgresql://127.0.0.1/audit", {}),
        ("postgresql://db.example/audit?sslmode=require", {}),
        ("postgresql:///?service=audit", {}),
        ("postgresql://db.example/audit", {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("postgresql:///audit?host=db.example", {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("postgresql://db.example/audit?sslrootcert=ca.pem", {"sslmode": "verify-full"}),
    ],
)
def test_the_certificate_of_another_machine_is_verified_unless_told_otherwise(url: str, options: object) -> None:
    assert Postgres(url=url).options == options


def test_the_password_is_that_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    settings = Postgres(url="postgresql://modelward@db/audit?sslmode=require", password_file=file)
    assert settings.password == "secret"
    assert settings.where == "postgresql://db/audit"
    assert settings.model_dump(mode="json")["url"] == settings.where
    assert Postgres.model_validate("postgresql://db/audit").password is None
