"""The documents show the stages of a request as the data plane drives them."""

import re
from xml.etree import ElementTree

import pytest

from modelward_native.request.verdict import reasons
from scripts.docs import DOCS, ROOT
from scripts.docs.stages import DOES, PAGE, PICTURE, Stage, drawing, phases, with_stages
from scripts.docs.svg import INK, PALE

SVG = "{http://www.w3.org/2000/svg}"
STAGES = [stage for rows in phases().values() for stage in rows]
SOURCES = ROOT / "native" / "modelward_native" / "stages"


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text() == with_stages(PAGE.read_text()), "run `make docs` and commit what it writes"


def test_the_picture_is_as_the_code_has_it() -> None:
    assert PICTURE.read_text() == drawing(phases()), "run `make docs` and commit what it writes"


def test_a_page_without_a_place_for_the_stages_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_stages("# Nothing\n")


def test_a_table_that_is_stale_is_written_again() -> None:
    stale = "before\n<!-- stages -->\n\n| stale |\n\n<!-- /stages -->\nafter\n"
    written = with_stages(stale)
    assert "stale" not in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert all(f"| `{stage.name}` |" in written for stage in STAGES)


def test_all_three_phases_have_stages_and_each_has_a_file_and_a_reason_for_its_place() -> None:
    assert list(phases()) == ["headers", "message", "completion"]
    assert all(phases().values())
    assert all(stage.why and (SOURCES / f"{stage.name}.pyx").is_file() for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_names_the_reasons_that_its_file_refuses_with(stage) -> None:  # type: ignore[no-untyped-def]
    assert set(stage.reasons) <= reasons().keys()
    if stage.name in {row.name for row in phases()["completion"]}:
        return
    assert refusals_of(stage.name) <= set(stage.reasons)


def refusals_of(stage: str) -> set[str]:
    """What the function of a stage itself refuses with."""
    found = re.search(
        rf"^cdef int {stage}\(.*\n((?:    .*\n|\n)+)", (SOURCES / f"{stage}.pyx").read_text(), re.MULTILINE
    )
    assert found
    return set(re.findall(r"refusal\(v, REASON_(\w+)", found[1]))


def test_refusals_are_found_in_the_files_of_stages() -> None:
    assert {"MALFORMED_TIMEOUT"} == refusals_of("timeout")
    assert {"ANOMALY"} == refusals_of("score")
    assert {"DEADLINE"} == refusals_of("deadline")


def test_the_explanation_tells_of_every_stage_in_its_order() -> None:
    text = (DOCS / "explanation" / "request.md").read_text()
    told = [name for name in re.findall(r"^\| ([a-z ]+) \|", text, re.MULTILINE) if name != "stage"]
    assert told == ["wire", *(stage.name for stage in STAGES)]


def test_the_map_of_the_code_tells_the_stages_in_their_order() -> None:
    text = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())
    for rows in phases().values():
        assert f": {', '.join(stage.name for stage in rows)}." in text


def test_the_picture_has_every_stage_and_a_red_edge_where_it_may_refuse() -> None:
    assert DOES.keys() == {stage.name for stage in STAGES}
    drawn = ElementTree.fromstring(drawing(phases()))
    words = ["".join(each.itertext()) for each in drawn.findall(f"{SVG}text")]
    assert all(stage.name in words and DOES[stage.name] in words for stage in STAGES)
    edges = [each.get("stroke") for each in drawn.findall(f"{SVG}rect")]
    assert edges.count("#cf222e") == sum(bool(stage.reasons) for stage in STAGES) > 10


def with_one_more(phase: str) -> dict[str, list[Stage]]:
    return {name: [*rows, Stage("more", (), "")] if name == phase else rows for name, rows in phases().items()}


@pytest.mark.parametrize(
    "at",
    [phases(), *(with_one_more(phase) for phase in phases())],
    ids=["as it is", *(f"more {name}" for name in phases())],
)
def test_the_picture_can_be_read_on_light_and_dark_pages_and_nothing_is_drawn_outside(
    at: dict[str, list[Stage]],
) -> None:
    drawn = ElementTree.fromstring(drawing(at))
    width, height = (float(each) for each in (drawn.get("viewBox") or "").split()[2:])
    ground, *boxes = drawn.findall(f"{SVG}rect")
    assert (ground.get("width"), ground.get("height"), ground.get("fill")) == (f"{width:g}", f"{height:g}", "#ffffff")
    assert {each.get("fill") for each in drawn.findall(f"{SVG}text")} <= {INK, PALE, "#cf222e"}
    assert len(boxes) == sum(map(len, at.values())) + 4, (
        "a box for each stage, the client twice, the wire and the backend"
    )
    for box in boxes:
        x, y, wide, tall = (float(box.get(name, -1)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + wide <= width and y + tall <= height
    assert all(
        0 < float(each.get("y", -1)) < height and 0 < float(each.get("x", -1)) < width
        for each in drawn.findall(f"{SVG}text")
    )
    lines = " ".join(each.get("d", "") for each in drawn.findall(f"{SVG}path"))
    across = [float(found) for found in re.findall(r"[MH](\d+(?:\.\d+)?)", lines)]
    assert len(across) > 20 and max(across) < width
