"""Layers from the environment, from `--set` flags and from files."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelward.bounded_file import read_regular
from modelward.config.files import anchor
from modelward.config.layer import Layer, merge
from modelward.config.model import Anomaly, ModelSettings
from modelward.config.schema import Config
from modelward.config.settings_files import MAIN, SettingsFiles, unreadable
from modelward.config.variables import has_variable
from modelward.lazy import Lazy
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_SETTINGS, SETTINGS_FILE, read_inside
from modelward.repository.scan import ModelFolder

if TYPE_CHECKING:
    from modelward.config import yaml_text
else:
    yaml_text = Lazy("modelward.config.yaml_text")  # a server whose configuration a child reads parses none

PREFIX = "MODELWARD__"
SEPARATOR = "__"
ONE_UNDERSCORE = "MODELWARD_"
# 'a.b', or a key in quotes where it has dots of its own
_KEY = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^."'=]+))(?:\.(?!$)|$)""")
# settings of a model that are paths, or may be
GUARDED = ("integrity", "approvals", "capture")
"""Keys of a model that only the configuration sets."""
PATHS_OF_MODELS = ("profile", "ca", "certificate", "key", "upstreams")
HOW_SET = """Write KEY=VALUE, such as limits.message_size=32MiB or models."fraud.v2".deadline=50ms"""


def from_environment(environ: Mapping[str, str]) -> Layer:
    """MODELWARD__LISTEN__GRPC=... sets listen.grpc. Keys are folded to lower case, model names are not."""
    layers = []
    for variable in sorted(v for v in environ if v.startswith(PREFIX)):
        keys = variable.removeprefix(PREFIX).split(SEPARATOR)
        is_name = keys[0].lower() == "models"
        path = tuple(key if is_name and i == 1 else key.lower() for i, key in enumerate(keys))
        layers.append(Layer.of(path, yaml_text.read_value(environ[variable]), f"environment variable {variable}"))
    return merge(layers)


def unread(environ: Mapping[str, str]) -> list[Problem]:
    """Notes on variables that look as if they were to set a key, and set none."""
    found = []
    for variable in sorted(environ):
        name = variable.removeprefix(ONE_UNDERSCORE).lower()
        if variable.startswith(PREFIX) or not variable.startswith(ONE_UNDERSCORE):
            continue
        for key in Config.model_fields:
            if name == key or name.startswith(f"{key}_"):
                rest = f"{SEPARATOR}{name[len(key) + 1 :].upper()}" if name != key else ""
                how = f"Write {PREFIX}{key.upper()}{rest}: two underscores before each key"
                found.append(Problem("this environment variable sets nothing", variable, how=how))
                break
    return found


def split_path(text: str) -> tuple[str, ...]:
    """`models."a.b".deadline` -> ("models", "a.b", "deadline"). Raises ValueError for anything else."""
    keys: list[str] = []
    position = 0
    while position < len(text):
        found = _KEY.match(text, position)
        if found is None:
            raise ValueError(text)
        keys.append(found[1] or found[2] or found[3])
        position = found.end()
    if not keys:
        raise ValueError(text)
    return tuple(keys)


def from_sets(assignments: Iterable[str]) -> Layer:
    """`a.b=value`, the value as YAML; later ones win. Raises ProblemsFound."""
    layers = []
    problems = []
    for assignment in assignments:
        key, equals, value = _split_assignment(assignment)
        try:
            if not equals:
                raise ValueError(assignment)
            layers.append(Layer.of(split_path(key), yaml_text.read_value(value), f"--set {key}"))
        except ValueError:
            problems.append(Problem("this sets nothing", f"--set {assignment}", how=HOW_SET))
    if problems:
        raise ProblemsFound(problems)
    return merge(layers)


def _split_assignment(text: str) -> tuple[str, str, str]:
    """Splits at the first = outside quotes."""
    quote = ""
    for position, character in enumerate(text):
        if character in "\"'":
            quote = "" if character == quote else quote or character
        elif character == "=" and not quote:
            return text[:position].strip(), "=", text[position + 1 :]
    return text, "", ""


def from_file(path: Path, files: SettingsFiles | None = None) -> Layer:
    """The main configuration file; relative files in it are relative to its folder. Raises ProblemsFound."""
    try:
        data = (files or SettingsFiles()).take(MAIN, path, lambda file: read_regular(file, LARGEST_SETTINGS)) or b""
    except OSError as error:
        raise ProblemsFound([unreadable(path, error)]) from error
    layer = yaml_text.read_document(_text(data, path), str(path))
    anchor(layer.values, Config, path.parent)
    models = layer.values.get("models")
    for settings in models.values() if isinstance(models, dict) else ():
        if isinstance(settings, dict) and settings.get("upstreams"):
            anchor(settings.get("anomaly"), Anomaly, path.parent, of_versions=True)
    return layer


def from_model_folder(model: ModelFolder, files: SettingsFiles | None = None, *, signed: bool = False) -> Layer:
    """The model's own model.yaml as settings under models.NAME. signed: its files must be, and no signature covers that
    one. Raises ProblemsFound."""
    place = model.settings_file or model.root / SETTINGS_FILE
    name = f"{model.name}/{SETTINGS_FILE}"
    data = (files or SettingsFiles()).take(
        name, model.settings_file, lambda file: read_inside(model.root, file, LARGEST_SETTINGS)
    )
    if data is None:
        return Layer()
    if signed:
        why = "it is not signed, and can give the model other upstreams, fallbacks and guards"
        how = f"Write it to models.{model.name} of the configuration, and remove it; or set integrity.require: warn"
        raise ProblemsFound([Problem("model.yaml is not taken where integrity.require is true", str(place), why, how)])
    layer = yaml_text.read_document(_text(data, place), str(place))
    if found := [*_variables(layer, layer.values, ()), *_guarded(layer)]:
        raise ProblemsFound(found)
    anchor(layer.values, ModelSettings, place.parent)
    return layer.under("models", model.name)


def _guarded(layer: Layer) -> list[Problem]:
    why, how = "it would be set by those whom it guards against", "Set models.NAME.{} in the configuration"
    given = [key for key in GUARDED if key in layer.values]
    return [Problem(f"model.yaml cannot set {key}", layer.origin((key,)) or "", why, how.format(key)) for key in given]


def _variables(layer: Layer, value: object, path: tuple[str | int, ...]) -> list[Problem]:
    """Paths that hold variables: who may write into the repository may not read the environment."""
    if isinstance(value, dict):
        return [problem for key, each in value.items() for problem in _variables(layer, each, (*path, key))]
    if isinstance(value, list):
        return [problem for i, each in enumerate(value) for problem in _variables(layer, each, (*path, i))]
    names = [key for key in path if isinstance(key, str)]
    if not has_variable(value) or not names or names[-1] not in PATHS_OF_MODELS:
        return []
    what, how = (
        f"{names[-1]}: a path in model.yaml holds no variables",
        "Write the path, or set it in the configuration",
    )
    return [Problem(what, layer.origin(path) or "", how=how)]


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProblemsFound(
            [Problem("the file is not UTF-8 text", f"{path}:{line}", how="Save it as UTF-8")]
        ) from error
