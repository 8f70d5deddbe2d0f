"""The generated pages of docs/reference/ say what the code says now."""

import re

import pytest

from modelward.cli.schema import schema
from modelward.config.yaml_text import read_document
from modelward.telemetry.metrics.table import families
from modelward_native.request.verdict import table
from modelward_native.shadow.stats import DROPS
from scripts.docs import DOCS, configuration, metrics, refusals
from scripts.docs.configuration_examples import EXAMPLES
from scripts.docs.reference import pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_as_the_code_has_it(name: str) -> None:
    assert (DOCS / "reference" / name).read_text() == PAGES[name], "run `make docs` and commit what it writes"


def test_arguments_without_a_name_of_their_own_show_their_values() -> None:
    assert "modelward limit set [OPTION...] model|identity NAME" in PAGES["commands.md"]
    assert "modelward identities [OPTION...] [ACTION ...]" in PAGES["commands.md"]
    assert "`None`" not in PAGES["commands.md"]


def test_every_section_has_an_example_that_shows_all_of_its_keys() -> None:
    sections = {section.path: section for section in configuration.sections(schema())}
    assert EXAMPLES.keys() == sections.keys()
    for path, section in sections.items():
        steps = path.replace("[]", ".[]").split(".") if path else []
        shown = set().union(
            *(keys_at(read_document(each, path).values, steps) for each in configuration.examples_of(path))
        )
        assert shown == set(section.node["properties"]), path or "top level"


def keys_at(value: object, path: list[str]) -> set[str]:
    """Keys of all mappings that a path leads to: [] stands for all items of a list, NAME for all keys."""
    if not path:
        assert isinstance(value, dict)
        return set(value)
    first, *rest = path
    if first == "[]":
        below = value if isinstance(value, list) else [value]
    else:
        assert isinstance(value, dict)
        below = list(value.values()) if first == "NAME" else [value[first]] if first in value else []
    return set().union(*(keys_at(each, rest) for each in below))


def test_every_reason_of_a_refusal_has_a_meaning() -> None:
    assert refusals.MEANING.keys() == {name for name, code, *_ in table() if code}


def test_labels_belong_to_their_metrics_and_drops_of_shadows_have_all_their_reasons() -> None:
    labels = {each.name.removesuffix("_total"): each.labels for each in families(metrics.complete())}
    assert all(label in labels[name.removesuffix("_total")] for name, label, _ in metrics.LABELS)
    dropped = next(values for name, _, values in metrics.LABELS if name == "modelward_shadow_dropped_total")
    assert tuple(dropped) == DROPS


def test_every_key_can_be_linked_to_by_its_path() -> None:
    text = PAGES["configuration.md"]
    ids = re.findall(r'<a id="([^"]+)"|\{ #(\S+) \}', text)
    found = [row or heading for row, heading in ids]
    assert len(found) == len(set(found)) > 150
    assert {"listen.grpc", "limits.peer.rate", "models.NAME.fallback", "models.NAME.shadow.only"} <= set(found)
