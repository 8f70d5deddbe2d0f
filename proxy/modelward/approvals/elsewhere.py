"""Files of the configuration that others have approved on another server of the fleet, and that lie on this one too."""

from __future__ import annotations

from modelward.approvals.approved import Approved
from modelward.approvals.book import Book
from modelward.approvals.configuration import Waiting
from modelward.approvals.proposal import Proposal


def agreed(
    book: Book, waiting: Waiting, approved: Approved, now: float, *, life: float, replica: str
) -> Proposal | None:
    """The proposal of files that wait, where another server executes it or has executed it. approved: what is followed
    here. life: seconds that an approval holds. replica: this server.

    As for a signature: what was approved longer ago, or was followed here and then replaced, needs another approval. So
    does what other files have replaced in the fleet, although it may never have been followed here."""
    about = [each for each in book.proposals if each.ask.verb == "reload" and each.ask.digest == waiting.digest]
    if not about or about[-1].state not in ("executing", "done"):
        return None
    last = about[-1]
    if last.break_glass or not last.approvals or (last.state == "executing" and last.on in ("", replica)):
        return None
    others = (each for each in book.proposals if each.ask.verb == "reload" and each.ask.digest != waiting.digest)
    if any(each.state == "done" and each.since >= last.since for each in others):
        return None
    before, at = approved.data, last.approvals[-1].at
    changed = [(name, data) for name, data in waiting.files.texts.items() if before.get(name) != data]
    replaced = max((approved.replaced_at(name, data) for name, data in changed), default=0.0)
    return last if replaced < at and now < at + life else None
