"""What documents show to copy works: configurations fit the schema, commands and their options exist."""

from pathlib import Path

import pytest

from scripts.docs import ROOT, documents, examples
from scripts.docs.configuration_examples import EXAMPLES

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in documents()]


@pytest.mark.parametrize("page", PAGES)
def test_configurations_are_valid(page: Path) -> None:
    faults = {each.where: found for each in examples.configurations(page) if (found := examples.problems_of(each))}
    assert not faults


@pytest.mark.parametrize("page", [page for page in PAGES if "how-to" in str(page.id)])
def test_configurations_to_copy_say_where_the_models_are(page: Path) -> None:
    assert [each.where for each in examples.configurations(page) if examples.lacks_models(each)] == []


def test_a_configuration_without_its_models_is_found() -> None:
    found = {text: examples.lacks_models(examples.Example("x", text)) for text in (
        "models: {a: {deadline: 1s}}", "repository: m\nmodels: {a: {deadline: 1s}}", "audit: {}",
        "models: {a: {upstreams: [h:1]}}",
    )}  # fmt: skip
    assert [*found.values()] == [True, False, False, False]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: Path) -> None:
    faults = {each.where: found for each in examples.command_lines(page) if (found := examples.fault_of(each.text))}
    assert not faults


def test_configurations_are_found_wherever_a_page_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```yaml\nworkers: 2\n```\n"
        '1. step\n\n    ```yaml title="x"\n    wrkers: 2\n    ```\n'
        "```yaml\nkind: Pod\nspec: {}\n```\n"
        "```yaml\ndeadline: 50ms\n```\n"
    )
    found = list(examples.configurations(page))
    assert [each.where for each in found] == ["page.md:1", "page.md:6", "page.md:13"]
    assert [bool(examples.problems_of(each)) for each in found] == [False, True, False]


def test_commands_are_found_wherever_a_page_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "Run `modelward serve --config f.yaml`, `modelward`, `modelward_up`.\n\n"
        "    modelward promot fraud 2 | tee log --color\n\n"
        "```sh\n$ modelward shadow report fraud --json \\\n  --nonsense   # --comment\n```\n"
    )
    found = {each.text.split()[1]: examples.fault_of(each.text) for each in examples.command_lines(page)}
    assert found == {"serve": "", "promot": "no command promot", "shadow": "no option --nonsense"}


def test_the_reference_has_examples() -> None:
    assert len(list(examples.configurations(ROOT / "docs" / "reference" / "configuration.md"))) >= len(EXAMPLES)
