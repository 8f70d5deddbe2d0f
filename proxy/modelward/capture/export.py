"""A training set of captured rows, in which no identity has much influence; and what was left out of it, and why.

In this order, for each step takes for granted what the ones before it have left out:

1. quarantine, rows that the model did not answer and that have no label, rows without a label where there are labels
2. near duplicates beyond `most_per_cluster`
3. labels that others' rows contradict (modelward.capture.disagreement), of identities and of values that only they send
4. rows beyond an identity's share
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct, field

from modelward.capture import disagreement, duplicates, influence, signatures
from modelward.capture.disagreement import EXCESS, FALSE_RATE, SLIGHT, Labelled, Verdict
from modelward.capture.influence import Influence, Mask
from modelward.capture.labels import Joined
from modelward.capture.signatures import Signature

LABEL = "label"
MOST_TESTED = 64  # values that one identity alone sends
MOST_TOLD = 20  # of them
FEWEST_LABELLED = 50  # rows, of two identities or more, without which labels are not judged


class Settings(Struct, frozen=True):
    """share: the largest part of the rows that one identity may have. most_per_cluster: of near duplicates. quarantine:
    suspicious rows are taken too. lone: rows with values that only their identity sends stay."""

    share: float = 0.05
    most_per_cluster: int = 50
    quarantine: bool = False
    lone: bool = True
    seed: int = 0


class Lone(Struct, frozen=True):
    """A value that one identity alone sends. left_out: why its rows are, or ""."""

    identity: str
    feature: str
    value: float
    rows: int
    share: float
    others: float
    left_out: str = ""


class Left(Struct, frozen=True):
    """An identity that was left out, entirely or in part. rows, clusters: that were judged."""

    identity: str
    reason: str
    rows: int
    clusters: int
    disagreement: float
    expected: float
    certain_excess: float


class Export(Struct, frozen=True):
    """table: the training set, with the column `label` behind all others. left_out: rows by reason, in the order of the
    steps. before, after: whose rows they are."""

    table: pa.Table
    captured: int
    left_out: dict[str, int]
    before: Influence
    after: Influence
    share: float
    identities: tuple[Left, ...]
    lone: tuple[Lone, ...]
    labelled: int
    ambiguous: int
    unused_labels: int
    notes: tuple[str, ...] = ()
    false_rate: float = field(default=FALSE_RATE)


class _Selection:
    """Which rows are left, and why others are not."""

    def __init__(self, count: int) -> None:
        self.keep: Mask = np.ones(count, bool)
        self.left_out: dict[str, int] = {}

    def leave_out(self, reason: str, rows: Mask) -> None:
        if count := int((self.keep & rows).sum()):
            self.left_out[reason] = self.left_out.get(reason, 0) + count
        self.keep = self.keep & ~rows


def export(rows: pa.Table, joined: Joined, settings: Settings) -> Export:
    random = np.random.default_rng(settings.seed)
    encoded = rows["identity"].combine_chunks().dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    identity = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    chosen, notes = _Selection(rows.num_rows), []
    has_label = np.array([label is not None for label in joined.labels], bool)
    if not settings.quarantine:
        chosen.leave_out("quarantine", np.array([bool(why) for why in rows["quarantine"].to_pylist()], bool))
    if joined.matched:
        chosen.leave_out("no_label", ~has_label)
    else:
        answered = rows["answered_by"].to_pylist()
        chosen.leave_out("not_answered", np.array([by != "model" for by in answered], bool))
        notes.append("there are no labels: whether any are wrong was not looked at")
    if joined.unnamed:
        notes.append(f"{joined.unnamed} labels do not say whose requests they are of, and were not used")
    before = influence.influence(identity[chosen.keep], names)
    points = duplicates.points(rows)
    cluster = duplicates.clusters(points.at, settings.seed)
    thinned = influence.thinned(cluster, identity, chosen.keep, settings.most_per_cluster, random)
    chosen.leave_out("near_duplicate", ~thinned)
    found = signatures.signatures(points, identity, chosen.keep)
    left: list[Left] = []
    why: dict[Signature, str] = {}
    if joined.matched and chosen.keep.sum() >= FEWEST_LABELLED and before.identities > 1:
        codes = np.zeros(rows.num_rows, np.int64)
        codes[has_label] = disagreement.codes_of(np.array([each for each in joined.labels if each is not None]))[0]
        labelled = Labelled(points.at, codes, identity, cluster)
        left, why = _against_neighbours(labelled, chosen, points, found, names, settings=settings)
    elif joined.matched:
        notes.append(
            f"fewer than {FEWEST_LABELLED} labelled rows of two identities: whether any are wrong was not looked at"
        )
    if not settings.lone:
        for each in found:
            why.setdefault(each, "lone_value")
            chosen.leave_out("lone_value", each.among(points, identity))
    capped = influence.capped(identity, chosen.keep, settings.share, random)
    chosen.leave_out("identity_share", ~capped)
    after = influence.influence(identity[chosen.keep], names)
    if after.largest and after.largest[0][2] > settings.share:
        notes.append(
            f"{after.identities} identities are too few for a share of {settings.share:g} each: "
            f"the largest has {after.largest[0][2]:.3g}"
        )
    table = rows.append_column(LABEL, _column(joined.labels)).filter(pa.array(chosen.keep))
    lone = [
        Lone(names[s.identity], points.names[s.column], s.value, s.rows, s.share, s.others, why.get(s, ""))
        for s in found[:MOST_TOLD]
    ]
    return Export(
        table, rows.num_rows, chosen.left_out, before, after, settings.share, tuple(left), tuple(lone),
        joined.matched, joined.ambiguous, joined.unused, tuple(notes),
    )  # fmt: skip


def _against_neighbours(
    labelled: Labelled,
    chosen: _Selection,
    points: duplicates.Points,
    found: Sequence[Signature],
    names: Sequence[str],
    *,
    settings: Settings,
) -> tuple[list[Left], dict[Signature, str]]:
    """Leaves out identities, values that only they send, and rows, that the rows of others contradict."""
    identity = labelled.identity
    trusted = influence.capped(identity, chosen.keep, settings.share, np.random.default_rng(settings.seed))
    tested = found[:MOST_TESTED]
    judged = disagreement.judge(labelled, chosen.keep, trusted, settings.seed, others=len(tested))
    left: list[Left] = []
    why: dict[Signature, str] = {}

    def note(verdict: Verdict, reason: str) -> None:
        v = verdict
        left.append(Left(names[v.identity], reason, v.rows, v.clusters, v.rate, v.expected, v.certain))

    whole = [v for v in judged.verdicts if v.certain > EXCESS]
    for verdict in whole:
        note(verdict, "labels_contradicted")
        chosen.leave_out("labels_contradicted", identity == verdict.identity)
    gone = {v.identity for v in whole}
    # rows with a value that only their identity sends are judged as if they were an identity of their own
    for each in (one for one in tested if one.identity not in gone):
        mine = each.among(points, identity)
        apart = identity.copy()
        apart[mine] = len(names)
        verdicts = disagreement.judge(
            Labelled(points.at, labelled.label, apart, labelled.cluster),
            chosen.keep & mine,
            trusted & ~mine,
            settings.seed,
        ).verdicts
        if verdicts and verdicts[0].certain > SLIGHT:
            why[each] = "trigger"
            chosen.leave_out("trigger", mine)
    for verdict in judged.verdicts:
        if verdict.certain > SLIGHT and verdict.identity not in gone:
            note(verdict, "rows_contradicted")
            chosen.leave_out("rows_contradicted", judged.against & (identity == verdict.identity))
    return left, why


def _column(labels: Sequence[Any]) -> pa.Array:
    """Of one type where they are, of text where they are not."""
    try:
        return pa.array(labels)
    except (pa.ArrowException, TypeError):
        return pa.array([None if each is None else str(each) for each in labels])
