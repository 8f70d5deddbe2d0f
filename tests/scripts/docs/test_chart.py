"""The chart of the cost of a request shows the results of the load tests."""

from xml.etree import ElementTree

from scripts.docs.chart import CHART, chart, panels
from scripts.docs.figures import us
from scripts.docs.svg import INK, PALE

SVG = "{http://www.w3.org/2000/svg}"


def test_it_is_as_the_results_have_it() -> None:
    assert CHART.read_text() == chart(), "run `make docs` and commit what it writes"


def test_it_has_a_bar_for_each_server_and_its_length_is_the_cost() -> None:
    drawn = ElementTree.fromstring(chart())
    bars = [float(each.get("width", 0)) for each in drawn.findall(f"{SVG}rect")][1:]
    costs = [row.us for panel in panels() for row in panel.rows]
    assert len(bars) == len(costs) == 6
    scale = max(bars) / max(costs)
    assert all(abs(bar - scale * cost) < 0.1 for bar, cost in zip(bars, costs, strict=True))
    text = " ".join("".join(each.itertext()) for each in drawn.findall(f"{SVG}text"))
    for panel in panels():
        assert panel.title in text
        assert all(row.label in text and us(row.us) in text for row in panel.rows)


def test_it_can_be_read_on_light_and_dark_pages() -> None:
    drawn = ElementTree.fromstring(chart())
    ground = drawn.find(f"{SVG}rect")
    assert ground is not None
    assert (ground.get("width"), ground.get("height")) == tuple((drawn.get("viewBox") or "").split()[2:])
    assert ground.get("fill") == "#ffffff"
    assert {each.get("fill") for each in drawn.findall(f"{SVG}text")} <= {INK, PALE}


def test_nothing_is_drawn_outside() -> None:
    drawn = ElementTree.fromstring(chart())
    width, height = (float(each) for each in (drawn.get("viewBox") or "").split()[2:])
    for each in drawn.findall(f"{SVG}text"):
        assert 0 < float(each.get("y", -1)) < height
        wide = 8.5 * len("".join(each.itertext()))  # more than the font needs
        assert each.get("text-anchor") == "end" or float(each.get("x", 0)) + wide < width
    for each in drawn.findall(f"{SVG}rect"):
        assert float(each.get("x", 0)) + float(each.get("width", 0)) <= width
