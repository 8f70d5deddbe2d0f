"""The wheels of two builders are read from what the build prints."""

from loadtests.wheel import digests


def test_each_wheel_is_known_by_its_name_and_digest() -> None:
    one, other = "0" * 64, "f" * 64
    printed = (
        f"wheel: compiling\nwheel: SHA-256 {one} a.whl\nwheel: SHA-256 {other} b.whl\nwheel: SHA-256 short c.whl\n"
    )
    assert digests(printed) == [("a.whl", one), ("b.whl", other)]
