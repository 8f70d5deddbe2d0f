"""What the sections of a configuration are made of: pydantic, which checks what is read.

The processes of a server use a configuration that another process has read and checked (modelward.config.reading).
There pydantic would take memory and much of the start, so they choose stand-ins, with which the same classes hold
values and check none.
"""

from typing import TYPE_CHECKING

from modelward.config import unchecked

if TYPE_CHECKING or not unchecked.chosen:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        PlainSerializer,
        PlainValidator,
        PrivateAttr,
        StringConstraints,
        ValidationInfo,
        WithJsonSchema,
        field_serializer,
        field_validator,
        model_validator,
    )
else:
    from modelward.config.unchecked import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        PlainSerializer,
        PlainValidator,
        PrivateAttr,
        StringConstraints,
        ValidationInfo,
        WithJsonSchema,
        field_serializer,
        field_validator,
        model_validator,
    )

__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Field",
    "PlainSerializer",
    "PlainValidator",
    "PrivateAttr",
    "StringConstraints",
    "ValidationInfo",
    "WithJsonSchema",
    "field_serializer",
    "field_validator",
    "model_validator",
]
