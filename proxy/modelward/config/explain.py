"""Validation errors of the schema told as problems: which key, on which line, and what to write instead."""

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from modelward.config.fields import BaseModel
from modelward.config.layer import Layer, Path
from modelward.config.schema import Config
from modelward.config.section import descriptions
from modelward.config.units import DURATION_PATTERN, SIZE_PATTERN, UnitError, format_duration, format_size
from modelward.problem import Problem
from modelward.suggest import suggestion

if TYPE_CHECKING:
    from pydantic import ValidationError

NOWHERE = "configuration"


def dotted(path: Path) -> str:
    """`models."a.b".fallback[0]`, the way in which --set takes it."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (f'"{key}"' if "." in key or not key else key)
    return text


def place(layer: Layer, path: Path) -> str:
    """Where the setting at `path` was written."""
    return layer.origin(path) or NOWHERE


def problems_of(error: "ValidationError", layer: Layer) -> list[Problem]:
    """One problem per error, in the order of the schema."""
    found = []
    errors = error.errors(include_url=False)
    wrong = {tuple(details["loc"]) for details in errors}
    for details in errors:
        path: Path = tuple(details["loc"])
        if details["type"] == "default_factory_not_called":  # follows from another error, which is told
            continue
        if details["type"] == "too_short" and any(len(at) > len(path) and at[: len(path)] == path for at in wrong):
            continue  # of the entries that are wrong none is counted
        what, why, how = _explain(details, path, _written(layer, path))
        name = dotted(path)
        found.append(Problem(f"{name}: {what}" if name else what, place(layer, path), why, how))
    return found


def _explain(details: Mapping[str, Any], path: Path, written: object) -> tuple[str, str, str]:
    """details: of pydantic. written: the value as it was written."""
    kind, message, value, context = details["type"], details["msg"], details.get("input"), details.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return "this is missing", "", _description(path)
        case "value_error" if isinstance(context["error"], UnitError):
            return str(context["error"]), "", context["error"].how
        case "literal_error":
            near = suggestion(str(value), str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", "))
            return f"{_shown(value)} is none of {context['expected']}", "", near
        case "less_than_equal" | "greater_than_equal" if isinstance(bound := context.get("le", context.get("ge")), int):
            least = "at most" if "le" in context else "at least"
            return f"{_shown(value)}: {_words(message)}", "", f"Write {least} {_in_units(bound, written)}"
        case "list_type" | "tuple_type":
            item = "value: {...}" if path[-1:] == ("fallback",) else "..."
            return f"{_shown(value)}: {_words(message)}", "", f"Write a list: - {item}"
    return f"{_shown(value)}: {_words(message)}", "", _description(path)


def _words(message: str) -> str:
    # in YAML's words instead of Python's
    text = re.sub(r" or instance of \w+", "", message[0].lower() + message[1:])
    return text.replace("dictionary", "mapping").replace("tuple", "list")


def _in_units(bound: int, written: object) -> str:
    """The bound as the value was written: 1s where that was 500ms."""
    if isinstance(written, str):
        for pattern, shown in ((DURATION_PATTERN, format_duration), (SIZE_PATTERN, format_size)):
            if re.match(pattern, written):
                return shown(bound)
    return str(bound)


def _written(layer: Layer, path: Path) -> object:
    value: Any = layer.values
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _unknown_key(path: Path) -> tuple[str, str, str]:
    section = _schema_at(path[:-1])
    known = list(section.model_fields) if section else []
    how = suggestion(str(path[-1]), known) or f"Known here: {', '.join(known)}"
    return "unknown key", "", how


def _shown(value: object) -> str:
    if isinstance(value, str | int | float | bool | NoneType):
        return repr(value)
    return {"dict": "a mapping", "tuple": "a list"}.get(type(value).__name__, f"a {type(value).__name__}")


def _description(path: Path) -> str:
    section = _schema_at(path[:-1])
    return descriptions(section).get(str(path[-1]), "").removesuffix(".") if section and path else ""


def _schema_at(path: Path) -> type[BaseModel] | None:
    """The section of the schema to which `path` leads, through mappings and lists."""
    annotation: Any = Config
    for key in path:
        annotation = _plain(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(key))
            if field is None:
                return None
            annotation = field.annotation
        else:
            arguments = [a for a in get_args(annotation) if a is not Ellipsis]
            annotation = arguments[-1] if arguments else None
    annotation = _plain(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """Without Annotated and without `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(a for a in get_args(annotation) if a is not NoneType)
        else:
            return annotation
