"""What is wrong, where, why it matters and how to mend it: the one form in which set-up reports its failures."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import asdict

T = TypeVar("T")


class Problem(Struct, frozen=True):
    """One thing a person has to mend before the program can serve.

    what: the finding, a sentence without a full stop. where: file and line, flag or variable, or a model and version.
    why: the reason it is refused, empty where `what` says it all. how: what to write or do instead.
    """

    what: str
    where: str
    why: str = ""
    how: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        if self.why:
            text += f": {self.why}"
        text = f"{text}. {self.how}" if self.how else text
        return " ".join(text.split("\n")).rstrip()  # a log has a line for each

    def as_json(self) -> dict[str, str]:
        return asdict(self)


class ProblemsFound(Exception):
    """Carries every problem of one stage, so that all of them can be mended in one go."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type["ProblemsFound"], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # as it was made: it comes from other processes too


class Gather:
    """Steps that do not depend on each other: each is tried, and what all of them find is raised together."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def step(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; None where it raised ProblemsFound."""
        try:
            return work()
        except ProblemsFound as found:
            self.problems += found.problems
            return None

    def end(self) -> None:
        """Raises ProblemsFound if a step did."""
        if self.problems:
            raise ProblemsFound(self.problems)


class WrongUsage(Exception):
    """A command line that cannot mean anything: one line that says what to write instead."""
