"""What a signature says of files, read as the OMS specification has it; what does not keep to it is refused."""

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.integrity.bundle import parse as parse_bundle
from modelward.integrity.digest import root_digest
from modelward.integrity.manifest import ALWAYS_IGNORED, Manifest, parse

A, B = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"bb").hexdigest()


def statement(*resources: tuple[str, str], **changes: Any) -> dict[str, Any]:
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in resources)).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    serialization |= changes.pop("serialization", {})
    listed = [{"name": name, "digest": digest, "algorithm": serialization["hash_type"]} for name, digest in resources]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"resources": listed, "serialization": serialization},
    } | changes


def parsed(*resources: tuple[str, str], **changes: Any) -> Manifest:
    return parse(json.dumps(statement(*resources, **changes)).encode())


def test_it_names_files_with_their_digests_and_one_for_all() -> None:
    found = parsed(("a", A), ("b/c", B), serialization={"ignore_paths": ["./notes", "model.sig"]})
    assert found.digest == root_digest({"a": A, "b/c": B})
    assert found.sha256_of("a") == A
    assert found.sha256_of("c") is None
    assert found.matches("b/c", io.BytesIO(b"bb"))
    for other in (b"b", b"bbb", b"bc", b""):
        assert not found.matches("b/c", io.BytesIO(other))
    assert not found.matches("none", io.BytesIO(b""))
    assert found.ignored == (*ALWAYS_IGNORED, "notes", "model.sig")
    assert found.ignores("notes/a") and found.ignores(".git/config")
    assert not found.ignores("notes.txt") and not found.ignores("a/.git")


def test_other_digests_than_sha256() -> None:
    blake2b = hashlib.blake2b(b"bb").hexdigest()
    found = parsed(("b", blake2b), serialization={"hash_type": "blake2b"})
    assert found.sha256_of("b") is None
    assert found.matches("b", io.BytesIO(b"bb")) and not found.matches("b", io.BytesIO(b"ba"))
    blake3 = pytest.importorskip("blake3").blake3(b"bb").hexdigest()
    found = parsed(("b", blake3), serialization={"hash_type": "blake3"})
    assert found.matches("b", io.BytesIO(b"bb")) and not found.matches("b", io.BytesIO(b"ba"))


def test_parts_of_files_are_compared_one_by_one() -> None:
    parts = [("w:1:0:2", hashlib.sha256(b"12").hexdigest()), ("w:1:2:3", hashlib.sha256(b"3").hexdigest())]
    shards = {"method": "shards", "shard_size": 2}
    found = parsed(*parts, serialization=shards)
    assert found.matches("w:1", io.BytesIO(b"123"))
    for other in (b"12", b"1234", b"132", b"124"):
        assert not found.matches("w:1", io.BytesIO(other))
    for wrong, why in (
        ([("w:2:3", A)], "are missing"),
        ([("w", A)], "no part of a file"),
        ([("w:0:3", A)], "another size"),
        ([("w:1:2", A)], "another size"),
        ([("w:0:1", A), ("w:2:4", A)], "are missing"),
    ):
        with pytest.raises(ValueError, match=why):
            parsed(*wrong, serialization=shards)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "a\0"])
def test_a_name_is_a_path_within_the_version_in_its_only_spelling(name: str) -> None:
    with pytest.raises(ValueError, match="no path within the version"):
        parsed((name, A))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
        ({"predicateType": "https://example.com/v1"}, "predicateType"),
        ({"subject": []}, "subject"),
        ({"subject": [{"name": "m", "digest": {"sha256": A}}]}, "root digest"),
        ({"subject": [{"name": "m", "digest": {"sha256": f"{A}\n"}}]}, "subject.*digest"),
        ({"predicate": {}}, "`resources` - at `.*predicate"),
        ({"serialization": {"method": "shards"}}, "shard_size"),
        ({"serialization": {"shard_size": 3}}, "shard_size"),
        ({"serialization": {"method": "tar"}}, "method"),
        ({"serialization": {"allow_symlinks": "yes"}}, "allow_symlinks"),
    ],
)
def test_another_form_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed(("a", A), ("b", B), **changes)


def test_what_is_no_statement_is_refused() -> None:
    for data in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match="its statement"):
            parse(data)
    with pytest.raises(ValueError, match="resources"):
        parsed()
    with pytest.raises(ValueError, match="twice"):
        parsed(("a", A), ("a", B))
    wrong = statement(("a", A))
    wrong["predicate"]["resources"][0]["algorithm"] = "blake3"
    with pytest.raises(ValueError, match="another kind"):
        parse(json.dumps(wrong).encode())


def test_the_form_of_the_first_releases_is_read() -> None:
    old = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://model_signing/Digests/v0.1",
        "subject": [{"name": "a", "digest": {"sha256": A}}],
    }
    assert parse(json.dumps(old).encode()).sha256_of("a") == A
    old["subject"] = [{"name": "a", "digest": {}}]
    with pytest.raises(ValueError, match="digest"):
        parse(json.dumps(old).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [
        ("_type",),
        ("subject",),
        ("subject", 0),
        ("subject", 0, "digest"),
        ("predicate",),
        ("predicate", "resources"),
        ("predicate", "resources", 0),
        ("predicate", "resources", 0, "name"),
        ("predicate", "resources", 0, "digest"),
        ("predicate", "serialization"),
        ("predicate", "serialization", "method"),
        ("predicate", "serialization", "shard_size"),
        ("predicate", "serialization", "ignore_paths"),
    ]
)


@settings(max_examples=50)
@given(PATHS, JSON)
def test_whatever_stands_in_a_statement_is_read_or_refused_with_words(path: tuple[Any, ...], value: Any) -> None:
    document: Any = statement(("a", A))
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    try:
        found = parse(json.dumps(document).encode())
    except ValueError as error:
        assert str(error) and not isinstance(error, RecursionError)
    else:
        assert found.files


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_there_is_a_bundle_or_refused_with_words(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_bundle(data)
