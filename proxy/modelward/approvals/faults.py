"""What is wrong with a book of proposals that somebody else has written: every field that is shown or followed."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from msgspec import Meta

from modelward.approvals.book import ALONE, LARGEST_NUMBER, Book
from modelward.approvals.objections import MOST_CLAIMS, MOST_REJECTED
from modelward.approvals.proposal import Approval, Proposal
from modelward.audit.record import LONGEST_TEXT
from modelward.config.approvals import MOST_APPROVERS
from modelward.fleet.record import LARGEST_TIME, LONGEST_NAME, MOST_STEPS, MOST_VERSIONS

Pairs = Annotated[int, Meta(ge=0, le=1 << 62)]


class _Bound(msgspec.Struct):
    least: float


class _Finding(msgspec.Struct):
    name: str
    bound: _Bound
    value: float | None
    low: float | None
    high: float | None
    verdict: str


class _Verdict(msgspec.Struct):
    """What is shown of a report on a shadow (modelward.shadow.report); it has more."""

    verdict: str
    primary: str
    pairs: Pairs
    bounds: list[_Finding]


def fault_of(book: Book) -> str:
    """Empty where there is none."""
    numbers = {each.number for each in book.proposals}
    if len(numbers) < len(book.proposals) or not 0 <= book.last <= LARGEST_NUMBER:
        return "numbers of proposals are none"
    for each in book.proposals:
        if fault := faults(each):
            return f"proposal {each.number}: {fault}"
    objections = book.objections
    if not _are_times(*objections.rejected.values(), objections.dropped):
        return "a time of an objection is out of range"
    files = [*objections.rejected, *(text for each in objections.claims for text in (each.file, each.by))]
    are_few = len(objections.rejected) <= 2 * MOST_REJECTED and len(objections.claims) <= 2 * MOST_CLAIMS
    return "" if are_few and _are_texts(*files) else "objections are too long or too many"


def faults(proposal: Proposal) -> str:
    """Empty where there is none."""
    ask, asked = proposal.ask, proposal.ask.parameters
    given = (*proposal.approvals, *((proposal.reviewed,) if proposal.reviewed is not None else ()))
    if not 0 < proposal.number < 10 * ALONE:
        return "its number is none"
    if not 0 <= proposal.needed <= MOST_APPROVERS or len(proposal.approvals) > MOST_APPROVERS + 1:
        return "no proposal needs or has so many approvals"
    if not _are_times(proposal.at, proposal.since, proposal.expires, asked.seconds, *(each.at for each in given)):
        return "a time is out of range"
    if not all(0 <= share <= 100 for share in asked.percent or ()):
        return "its share is none"
    steps = asked.steps or ()
    if len(steps) > MOST_STEPS or not all(0 < step <= 100 for step in steps):
        return "its steps are none"
    names = (ask.model, ask.version, ask.digest, proposal.rules, proposal.on, *asked.without)
    if len(names) > MOST_VERSIONS or any(len(each) > LONGEST_NAME or not each.isprintable() for each in names):
        return "it has names that are none"
    texts = (ask.reason, asked.force, asked.endpoint, proposal.by.name, proposal.why, proposal.ended_by, *ask.files)
    if not _are_texts(*texts, *(text for each in given for text in _texts(each))):
        return "it has texts that are too long"
    lines = (ask.reason, asked.force, asked.endpoint, *(each.reason for each in given))
    if not all(map(str.isprintable, lines)) or any("\n" in line for line in ask.diff):
        return "it has texts that would be shown as several lines"
    return _of_verdict(proposal)


def _of_verdict(proposal: Proposal) -> str:
    verdict = proposal.ask.verdict
    if verdict is None:
        return ""
    try:
        json.dumps(verdict, allow_nan=False)
        msgspec.convert(verdict, _Verdict)
    except (ValueError, RecursionError) as error:  # a ValidationError is one
        return f"its verdict is none: {error}"
    return ""


def _are_times(*seconds: float) -> bool:
    return all(0 <= each <= LARGEST_TIME for each in seconds)


def _are_texts(*texts: str) -> bool:
    return all(len(each) <= LONGEST_TEXT for each in texts)


def _texts(approval: Approval) -> tuple[str, str]:
    return approval.by.name, approval.reason
