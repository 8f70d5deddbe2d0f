"""Every proposal and what may become of it: values and rules, no clock and no file.

                 +-> rejected, withdrawn, expired, void
    open --------+
                 +-> executing ---> done, failed

A proposal leaves `open` once, and `executing` once. What was approved is executed by what finds it in `executing`: the
last approval, or the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from msgspec import structs

from modelward.approvals.objections import Objections
from modelward.approvals.proposal import Approval, Ask, Proposal, State
from modelward.audit.record import ITSELF, LONGEST_TEXT, Actor
from modelward.plural import counted
from modelward.problem import Problem, ProblemsFound
from modelward.records import Struct

ALONE = 100_000_000
"""From here on numbers are of what a server of a fleet did without asking the others; which one, is random."""
LARGEST_NUMBER = ALONE - 1
"""Of what was proposed. After it comes 1: no `last` that is written into a store keeps operators from proposing."""
MOST_OPEN = 64
MOST_OF_ONE = 16
"""Open proposals of one person: a single deployer does not keep the others out."""
MOST_UNREVIEWED = 256
"""Beyond these the glass does not break: somebody has to look at what was done."""
MOST_ENDED = 200
"""Ended proposals that are kept, the latest; those that wait for a review beside them."""

HOW_SIGN = "Compare the files themselves and sign them: modelward config sign FILE --key KEY; or make smaller changes"
LOOK = "modelward proposals lists them"
NO_SUCH = "there is no such proposal"
HOW_REVIEW = "modelward proposals shows what waits for a review; modelward review N --reason TEXT"
Person = Callable[[str], str]  # who stands behind an operator's name


class Book(Struct, frozen=True, kw_only=True):
    """proposals: by rising number. last: number of the newest, also where it is not kept any more. objections: to files
    of the configuration, which stay when the proposal is void or not kept any more."""

    last: int = 0
    proposals: tuple[Proposal, ...] = ()
    objections: Objections = Objections()

    def find(self, number: int) -> Proposal:
        """Raises ProblemsFound."""
        for each in self.proposals:
            if each.number == number:
                return each
        if 0 < number <= self.last:
            raise refusal(number, "the proposal ended long ago and is not kept any more", "The audit trail knows it")
        raise refusal(number, NO_SUCH, LOOK)

    @property
    def next(self) -> int:
        """The number of the next proposal, which none of these has."""
        return following(self.last, {each.number for each in self.proposals})

    @property
    def open(self) -> tuple[Proposal, ...]:
        return tuple(each for each in self.proposals if each.state == "open")

    @property
    def executing(self) -> tuple[Proposal, ...]:
        return tuple(each for each in self.proposals if each.state == "executing")

    @property
    def unreviewed(self) -> tuple[Proposal, ...]:
        return tuple(each for each in self.proposals if each.is_unreviewed)

    def of_files(self, digest: str) -> Proposal | None:
        """The last proposal of the configuration with this digest: it is open, or is decided, and only an operator asks
        again. None where nobody has decided about these files, or they have changed since they were followed."""
        found = [each for each in self.proposals if each.ask.verb == "reload" and each.ask.digest == digest]
        return found[-1] if found and found[-1].state not in ("void", "done") else None

    # ---- what operators do. Each returns the next book, or raises ProblemsFound and nothing has changed

    def proposed(
        self, ask: Ask, by: Actor, now: float, *, seconds: float, needed: int, person: Person, rules: str = ""
    ) -> Book:
        """With another proposal, the last one of the book. rules: as Proposal."""
        for each in self.open:
            if each.ask.is_as(ask):
                raise refusal(each.number, "it asks for the same and is open", f"modelward proposals {each.number}")
        if len(self.open) >= MOST_OPEN and by != ITSELF:  # the server's own is one at a time
            raise refusal(0, f"{MOST_OPEN} proposals are open", "Approve or reject one first: modelward proposals")
        if sum(person(each.by.name) == person(by.name) for each in self.open) >= MOST_OF_ONE:
            raise refusal(0, f"{MOST_OF_ONE} proposals of {by.name} are open", "Wait for one, or withdraw one")
        book = self if by == ITSELF else self._with_claim(ask, by)
        return book._with_new(ask, by, now, expires=now + seconds, needed=needed, rules=rules)

    def broken(self, ask: Ask, by: Actor, now: float, *, rights: bool = False, number: int = 0) -> Book:
        """With one that is executing, and waits for a review. An open one for the same is void. rights: as Proposal.
        number: 0 for the next one."""
        if len(self.unreviewed) >= MOST_UNREVIEWED:
            raise refusal(0, f"{MOST_UNREVIEWED} uses of --break-glass wait for a review", HOW_REVIEW)
        book = self
        for each in self.open:
            if each.ask.is_as(ask):
                book = book._ended(each, "void", now, f"{by.name} did it by breaking the glass", "")
        book = book._with_new(ask, by, now, expires=now, needed=0, number=number)
        glass = {"state": "executing", "break_glass": True, "rights": rights}
        return book.with_(structs.replace(book.proposals[-1], **glass))

    def approved(self, number: int, approval: Approval, person: Person) -> Book:
        """With the approval, and executing where it was the last one needed."""
        proposal = self._still_open(number, approval.at)
        if proposal.ask.cut and not approval.signed:
            raise refusal(number, "its diff is too long to be shown whole", HOW_SIGN)
        who = person(approval.by.name)
        if who == person(proposal.by.name):
            raise refusal(number, f"{approval.by.name} has proposed it", "Another approver has to")
        if any(person(each.by.name) == who for each in proposal.approvals):
            raise refusal(number, f"{approval.by.name} has approved it already", "Another approver has to")
        after = structs.replace(proposal, approvals=(*proposal.approvals, approval))
        if not after.missing:
            after = structs.replace(after, state="executing", since=approval.at)
        return self.with_(after)

    def rejected(self, number: int, by: Actor, now: float, reason: str) -> Book:
        proposal = self._still_open(number, now)
        objections = self.objections.with_rejected(proposal.ask.files, now)
        return structs.replace(self._ended(proposal, "rejected", now, reason, by.name), objections=objections)

    def withdrawn(self, number: int, by: Actor, now: float, reason: str, person: Person) -> Book:
        """By the one who proposed it."""
        proposal = self._still_open(number, now)
        if not is_own(proposal, by, person):
            how = f"Who may reject ends it: modelward reject {number}"
            raise refusal(number, f"{proposal.by.name} has proposed it", how)
        return self._ended(proposal, "withdrawn", now, reason, by.name)

    def claimed(self, number: int, by: Actor, now: float, reason: str) -> Book:
        """Of files that the server has found changed: this operator has changed them, and does not approve them. Not
        once there are approvals: a claim that was not meant so would complete them."""
        proposal = self._still_open(number, now)
        if proposal.by != ITSELF:
            raise refusal(number, f"{proposal.by.name} has proposed it", "There is nothing to do")
        if proposal.approvals:
            raise refusal(number, f"{proposal.approvers[0]} has approved it already", "Let another approver approve it")
        ask = structs.replace(proposal.ask, reason=reason or proposal.ask.reason)
        return self._with_claim(ask, by).with_(structs.replace(proposal, by=by, ask=ask))

    def reviewed(self, number: int, review: Approval, person: Person) -> Book:
        proposal = self.find(number)
        if not proposal.break_glass:
            raise refusal(number, "it was not done by breaking the glass", HOW_REVIEW)
        if proposal.reviewed is not None:
            raise refusal(number, f"{proposal.reviewed.by.name} has reviewed it already", "There is nothing to do")
        if person(review.by.name) == person(proposal.by.name):
            raise refusal(number, f"{review.by.name} has done it", "Another approver has to review it")
        return self.with_(structs.replace(proposal, reviewed=review)).bounded(but=number)

    # ---- what the server finds

    def expired(self, now: float) -> Book:
        """With all that nobody has approved in time."""
        if not any(each.expires <= now for each in self.open):
            return self
        why = "it was not approved in time"
        ended = (_over(each, "expired", now, why, "") if each.state == "open" and each.expires <= now else each
                 for each in self.proposals)  # fmt: skip
        return structs.replace(self, proposals=tuple(ended)).bounded()

    def voided(self, number: int, now: float, why: str) -> Book:
        """What it asked for is not there any more."""
        return self._ended(self._still_open(number, now), "void", now, why, "")

    def executed(self, number: int, now: float, problems: str = "") -> Book:
        """Of one that is executing: done, or failed with these problems."""
        proposal = self.find(number)
        if proposal.state != "executing":
            raise refusal(number, f"it is {proposal.state}, not executing", LOOK)
        book = self._ended(proposal, "failed" if problems else "done", now, problems, "")
        if problems or proposal.break_glass:
            return book
        return structs.replace(book, objections=self.objections.without(proposal.ask.files))

    # ---- how

    def with_(self, proposal: Proposal) -> Book:
        """With this one in the place of the one with its number."""
        changed = tuple(proposal if each.number == proposal.number else each for each in self.proposals)
        return structs.replace(self, proposals=changed)

    def placed(self, number: int, on: str) -> Book:
        """With a server of a fleet as the one where it was proposed, or which executes it."""
        return self.with_(structs.replace(self.find(number), on=on))

    def _with_new(
        self, ask: Ask, by: Actor, now: float, *, expires: float, needed: int, rules: str = "", number: int = 0
    ) -> Book:
        number = number or self.next
        last = number if number < ALONE else self.last
        new = Proposal(number=number, ask=ask, by=by, at=now, since=now, expires=expires, needed=needed, rules=rules)
        return structs.replace(self, last=last, proposals=(*self.proposals, new))

    def _with_claim(self, ask: Ask, by: Actor) -> Book:
        return structs.replace(self, objections=self.objections.with_claim(ask.files, by.name))

    def _ended(self, proposal: Proposal, state: State, now: float, why: str, by: str) -> Book:
        return self.with_(_over(proposal, state, now, why, by)).bounded(but=proposal.number)

    def bounded(self, most: int = MOST_ENDED, but: int = 0) -> Book:
        """With so many of those that have ended, the latest. but: one that stays until another one ends."""
        ended = sorted((each.since, each.number) for each in self.proposals if each.is_over and not each.is_unreviewed)
        gone = {*[number for _, number in ended if number != but][: max(0, len(ended) - most)]}
        return structs.replace(self, proposals=tuple(each for each in self.proposals if each.number not in gone))

    def _still_open(self, number: int, now: float) -> Proposal:
        proposal = self.find(number)
        if proposal.state != "open":
            told = f": {proposal.why}" if proposal.why else ""
            is_done = proposal.state in ("executing", "done")
            how = "There is nothing to do" if is_done else "Propose it again if it is still wanted"
            raise refusal(number, f"it is {proposal.state}{told}", how)
        if proposal.expires <= now:
            raise refusal(number, "it has expired", "Propose it again if it is still wanted")
        return proposal


def following(last: int, taken: Container[int]) -> int:
    """The number after the last one that is not taken."""
    number = last % LARGEST_NUMBER + 1
    while number in taken:
        number = number % LARGEST_NUMBER + 1
    return number


def latest(one: int, other: int) -> int:
    """Of two last numbers: the later one is less than half of all ahead (RFC 1982)."""
    distance = (one - other) % LARGEST_NUMBER
    return max(one, other) if not distance else one if distance <= LARGEST_NUMBER // 2 else other


def is_own(proposal: Proposal, by: Actor, person: Person) -> bool:
    """Whether this operator has proposed it. What the server itself has proposed is nobody's."""
    return proposal.by != ITSELF and person(proposal.by.name) == person(by.name)


def waits(proposal: Proposal) -> str:
    """What it waits for, and how that is given."""
    missing = counted(proposal.missing, "approval")
    return f"proposal {proposal.number} waits for {missing}; modelward approve {proposal.number}"


def _over(proposal: Proposal, state: State, now: float, why: str, by: str) -> Proposal:
    ask = structs.replace(proposal.ask, files=())
    changes = {"ask": ask, "state": state, "since": now, "why": why[:LONGEST_TEXT], "ended_by": by}
    return structs.replace(proposal, **changes)


def refusal(number: int, what: str, how: str) -> ProblemsFound:
    """number: of the proposal, 0 for none."""
    return ProblemsFound([Problem(what, f"proposal {number}" if number else "proposals", how=how)])
