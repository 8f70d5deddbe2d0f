"""The list of what is in the image: packages of Debian, of Python, and what wheels brought with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.package import sbom
from scripts.package.image import PACKAGES, SITE, listed

EPOCH = 1_700_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one package of Debian, and two of Python, of which one has brought a library."""
    (tmp_path / PACKAGES).mkdir(parents=True)
    (tmp_path / PACKAGES / "libc6").write_text("Package: libc6\nVersion: 2.41-12+deb13u5\nArchitecture: amd64\n")
    own, other = (tmp_path / SITE / f"{name}.dist-info" for name in ("modelward-0.1.0", "yarl-1.25.1"))
    (own / "sboms").mkdir(parents=True)
    other.mkdir()
    (own / "METADATA").write_text("Name: modelward\nVersion: 0.1.0\nLicense-Expression: Apache-2.0\n")
    (other / "METADATA").write_text(
        "Name: yarl\nVersion: 1.25.1\nLicense: a text of\n  many lines, and so no name\n"
        "Classifier: License :: OSI Approved :: Apache Software License\n"
    )
    part = sbom.component("library", "nghttp2", "1.64.0", licence="MIT", purl="pkg:deb/debian/libnghttp2-14@1.64.0")
    subject = sbom.component("application", "modelward", "0.1.0", purl="pkg:pypi/modelward@0.1.0")
    (own / "sboms" / "modelward.cdx.json").write_bytes(sbom.dumped(sbom.document(subject, [part], [], EPOCH)))
    return tmp_path


def parts(root: Path) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in listed(root, EPOCH)["components"]}


def test_every_package_is_listed_with_its_version_and_licence(root: Path) -> None:
    found = parts(root)
    assert set(found) == {"libc6", "modelward", "yarl", "nghttp2"}
    assert all(part["version"] and part["licenses"] for part in found.values())
    assert found["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64&distro=debian-13"


def test_a_licence_is_a_name_and_no_text(root: Path) -> None:
    assert parts(root)["yarl"]["licenses"] == [{"license": {"name": "Apache Software License"}}]


def test_the_same_root_gives_the_same_document(root: Path) -> None:
    first, second = sbom.dumped(listed(root, EPOCH)), sbom.dumped(listed(root, EPOCH))
    assert first == second
    assert json.loads(first)["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_parts_have_references_of_their_own(root: Path) -> None:
    document = listed(root, EPOCH)
    references = [part["bom-ref"] for part in document["components"]]
    assert len(set(references)) == len(references)
    assert document["dependencies"][0]["dependsOn"] == sorted(references)
