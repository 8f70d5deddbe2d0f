"""Files that approvers have signed while no server ran: they count as they would for a server that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import randbelow

from msgspec import structs

from modelward.approvals.book import ALONE
from modelward.approvals.objections import Objections
from modelward.approvals.proposal import Approval, Ask
from modelward.approvals.rules import rules_of
from modelward.approvals.store import Store
from modelward.audit.record import ITSELF, Actor
from modelward.config.approvals import Approvals
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.problem import ProblemsFound

SIGNED = "the files were signed before the start"

log = logging.getLogger("modelward.approvals")


def asked(digest: str, files: tuple[str, ...]) -> Ask:
    """digest: of all files. files: that it changes."""
    return Ask(verb="reload", digest=digest, reason=SIGNED, files=files)


def agreed(
    folder: Path, ask: Ask, signed_by: Callable[[Objections, bool], Sequence[str]], config: Config, now: float
) -> bool:
    """Whether signatures on files with this digest are all that they need. Then it is written to the proposals that
    were kept in `folder`, so that the server finds it executed and records it. Raises ProblemsFound.

    signed_by: approvers whose signatures count in spite of these objections; and whether an operator has proposed the
    files. config: that was approved last.
    """
    store = Store(folder)
    approvals, rules = config.approvals or Approvals(), rules_of(config, ask)
    book = store.load().expired(now)
    last = book.of_files(ask.digest)
    if last is not None and last.state == "open" and last.rules not in ("", rules):
        book = book.voided(last.number, now, "operators or approvals of the configuration have changed")
        last = None
    if not (names := signed_by(book.objections, last is not None and last.by != ITSELF)):
        return False
    if last is None:
        before = book.last
        seconds, needed = approvals.expire / SECOND, config.approvers("reload")
        try:
            book = book.proposed(ask, ITSELF, now, seconds=seconds, needed=needed, person=approvals.person, rules=rules)
        except ProblemsFound as found:
            log.warning("the files wait, although they are signed: %s", found)
            return False
        last = book.proposals[-1]
        if config.fleet is not None:  # which is not asked at a start
            last = structs.replace(last, number=ALONE + randbelow(9 * ALONE))
            book = structs.replace(book, last=before, proposals=(*book.proposals[:-1], last))
    for name in names:
        approval = Approval(by=Actor(name=name, proof="signature"), at=now, signed=True)
        try:
            book = book.approved(last.number, approval, approvals.person)
        except ProblemsFound as found:
            log.warning("proposal %d: the signature of %s does not approve it: %s", last.number, name, found)
    if last.state != "open" or book.find(last.number).state != "executing":
        return False
    store.save(book)
    return True
