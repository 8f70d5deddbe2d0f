"""What came of an operator's request that was under way when the server ended, as the book on disk tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelward.approvals.book import Book
from modelward.approvals.proposal import Proposal
from modelward.audit.record import ITSELF
from modelward.audit.unanswered import UNKNOWN

ENDED = "the server ended before it was done"
DONE: Mapping[str, Any] = {"result": "done"}
NOT_DONE: Mapping[str, Any] = {"result": "failed", "reason": ENDED}


def outcome_of(book: Book, asked: Mapping[str, Any], *, shared: bool = False) -> Mapping[str, Any] | None:
    """As modelward.audit.unanswered.Tell. None of what is being executed: the desk does that, or finds it done.
    shared: by a fleet, whose book may have gone on since this one was kept."""
    not_done = UNKNOWN if shared else NOT_DONE
    number, verb = asked.get("proposal"), str(asked.get("verb"))
    if not isinstance(number, int):
        return UNKNOWN
    proposal = next((each for each in book.proposals if each.number == number), None)
    if proposal is None:
        return UNKNOWN if number <= book.last else not_done
    if verb.startswith("proposal."):
        name = asked.get("actor", {}).get("name", ITSELF.name)  # which is left out where it was the server itself
        return DONE if _is_in(proposal, verb, name) else not_done
    match proposal.state:
        case "executing":
            return None
        case "done":
            return DONE
        case "failed":
            return {"result": "failed", "reason": proposal.why}
    return UNKNOWN


def _is_in(proposal: Proposal, verb: str, name: str) -> bool:
    """Whether the book has what this operator asked for."""
    match verb:
        case "proposal.open":  # of a fleet, another server's may have the number
            return name in (proposal.by.name, ITSELF.name)
        case "proposal.break_glass":
            return proposal.break_glass
        case "proposal.claim":
            return proposal.by.name == name
        case "proposal.approve":
            return name in proposal.approvers
        case "proposal.review":
            return proposal.reviewed is not None and proposal.reviewed.by.name == name
    return proposal.ended_by == name and proposal.state == {
        "proposal.reject": "rejected",
        "proposal.withdraw": "withdrawn",
    }.get(verb)
