"""Sealed versions of models: the keys that open them, and whether others are served."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from modelward.config.access import pattern
from modelward.config.fields import BeforeValidator, Field, model_validator
from modelward.config.section import Section
from modelward.config.units import UnitError

MOST_IDENTITIES, MOST_PATTERNS = 64, 256
MOST_WORDS, LONGEST_WORD = 64, 4096
LARGEST_SECRET = 64 << 10  # bytes of what a source gives
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
OURS = "MODELWARD_"


def _variable(value: object) -> object:
    if isinstance(value, str) and not _VARIABLE.fullmatch(value):
        raise UnitError(f"{value[:64]!r} is no name of an environment variable", "Write a name such as MODEL_KEY")
    if isinstance(value, str) and value.startswith(OURS):
        how = "Give it another name, such as MODEL_KEY"
        raise UnitError(f"variables that begin with {OURS} are keys of the configuration", how)
    return value


def _words(value: object) -> object:
    """YAML has lists."""
    return tuple(value) if isinstance(value, list) else value


class IdentitySource(Section):
    """Where a key comes from that opens sealed versions: a file, an environment variable or a command."""

    file: Path | None = Field(default=None, strict=False)
    """File with identities of age, one a line, or one unencrypted SSH key."""
    environment: Annotated[str | None, BeforeValidator(_variable)] = None
    """Environment variable that holds the same. The server takes it out of its environment at its start."""
    command: Annotated[tuple[Annotated[str, Field(max_length=LONGEST_WORD)], ...] | None, BeforeValidator(_words)] = (
        Field(default=None, min_length=1, max_length=MOST_WORDS)
    )
    """Program and arguments that print the same, such as the client of a key management service. It is run without a
    shell, at the start and at each reload, and may take 30 s."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file, self.environment, self.command).count(None) != 2:
            how = "Write - file: PATH, - environment: NAME, or - command: [PROGRAM, ARGUMENT]"
            raise UnitError("an identity has exactly one of file, environment and command", how)
        return self


@dataclass(frozen=True, slots=True)
class Secret:
    """What a source gave. name: of the source. fault: why it gave nothing, or "". how: to mend that."""

    name: str
    text: str = field(repr=False)
    fault: str = ""
    how: str = ""


def _listed(value: Any) -> Any:
    """One item stands for a list of one."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class Sealing(Section):
    """Versions whose files are encrypted, and opened in the memory of workers alone."""

    identities: Annotated[tuple[IdentitySource, ...], BeforeValidator(_listed)] = Field(
        default=(), max_length=MOST_IDENTITIES
    )
    """Keys that open them. Each is tried. They are read at the start and at each reload; one that cannot be read any
    more stays as it was."""
    require: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(default=(), max_length=MOST_PATTERNS)
    """Models whose versions are refused where a file of them is not sealed: names, in which * stands for any
    characters. Not in model.yaml: who may write there is whom it guards against."""

    def requires(self, name: str) -> bool:
        """Whether all files of a model's versions must be sealed."""
        return any(pattern(each).fullmatch(name) for each in self.require)
