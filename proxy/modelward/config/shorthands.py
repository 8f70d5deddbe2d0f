"""The JSON schema of what may be written in place of a list or a section: one item for a list of one, a text for a
section, a number for a text.

What stands for what is said by the validators that come before a value is looked at. So they are asked: what they make
of a sample tells what else they take.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import BeforeValidatorFunctionSchema, ChainSchema

TEXT = "a"
SAMPLES: tuple[object, ...] = (TEXT, 1, {})


class WithShorthands(GenerateJsonSchema):
    """A schema that also takes shorthands. It may take one that the server then refuses, never the reverse."""

    def function_before_schema(self, schema: BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return _with_shorthands(super().function_before_schema(schema), schema)

    def chain_schema(self, schema: ChainSchema) -> JsonSchemaValue:
        """One with a pattern, of which the last step alone would be shown."""
        inner, first = super().chain_schema(schema), schema["steps"][0]
        return _with_shorthands(inner, first) if first["type"] == "function-before" else inner


def _with_shorthands(inner: JsonSchemaValue, schema: Mapping[str, Any]) -> JsonSchemaValue:
    """schema: of a validator that comes before."""
    if schema["function"]["type"] != "no-info":
        return inner
    function, item = schema["function"]["function"], _item(inner)
    also: list[JsonSchemaValue] = []
    if item is not None and any(isinstance(_made(function, each), tuple | list) for each in SAMPLES):
        also.append(item)
    if isinstance(_made(function, TEXT), dict):
        also.append({"type": "string"})
    if _made(function, 1) == "1":
        also.append({"type": "integer"})
    pair = _made(function, (None, None))
    if isinstance(pair, tuple) and None not in pair and len(pair) == 2:
        also.append({"type": "array", "items": {"type": ["number", "null"]}, "minItems": 2, "maxItems": 2})
    return {"anyOf": [inner, *also]} if also else inner


def _made(function: Any, sample: object) -> object:
    try:
        return function(sample)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take that
        return None


def _item(node: JsonSchemaValue) -> JsonSchemaValue | None:
    """Of a list, or of one that may be left out."""
    for each in (node, *node.get("anyOf", ())):
        if each.get("type") == "array" and isinstance(each.get("items"), dict):
            return dict(each["items"])
    return None
