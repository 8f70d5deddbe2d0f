"""What is told of a version from the process that has it open to the one that decides about its share."""

from collections.abc import Mapping

from msgspec import Struct


class Facts(Struct, frozen=True):
    """sha256: of its file. profile, canary: whether it has them. digest: of all its files (modelward.integrity.digest).
    signer: whose signature counts, "" for nobody's. doubt: why none does, where one is asked for. key: name of the one
    that opened them, where they are sealed. unnamed: its signature names no model and version.
    interface: of a version that upstreams run, a digest of inputs, outputs and platform. Its files are out of reach,
    and `digest` is empty.
    """

    sha256: str
    profile: bool
    canary: bool
    digest: str = ""
    key: str = ""
    signer: str = ""
    doubt: str = ""
    unnamed: bool = False
    interface: str = ""

    def lacks(self, before: "Facts | None") -> tuple[str, ...]:
        """The guards that the version before has, and this one has not."""
        if before is None:
            return ()
        return tuple(guard for guard in GUARDS if getattr(before, guard) and not getattr(self, guard))


class Loaded(Struct, frozen=True):
    """A version as a worker has it open."""

    model: str
    version: str
    digest: str
    is_signed: bool


GUARDS = ("profile", "canary")
FactsByVersion = Mapping[str, Facts]


def run_here(facts: Mapping[str, FactsByVersion]) -> dict[str, FactsByVersion]:
    """Without models of upstreams."""
    return {name: known for name, known in facts.items() if not any(each.interface for each in known.values())}
