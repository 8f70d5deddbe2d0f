"""A log in PostgreSQL, of one server or of several that have its key. Rows are only ever added.

The writer holds the log's lock from reading the newest checkpoint until the next one is committed. So numbers have
no gaps, each checkpoint is signed by who saw what it vouches for, and the outcome of a commit whose answer was lost is
known once the lock is had again.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from modelward.audit import key
from modelward.audit.database import Database, Failed
from modelward.audit.last import TAKEN_BACK, Last
from modelward.audit.log import Gone
from modelward.audit.merkle import EMPTY, ProofFails, check_consistency, consistency_proof, leaf_hash
from modelward.audit.note import LARGEST_NOTE, Checkpoint, Note, NotSigned, OtherKey, Signer, stamped
from modelward.audit.postgres_lock import lock
from modelward.audit.postgres_tables import prepare
from modelward.audit.record import Record
from modelward.audit.tiles import HASH, LARGEST_RECORD, LEVELS_PER_TILE, TILE, Edge, nodes, split, tile_root, widths
from modelward.config.postgres import Postgres
from modelward.problem import Problem, ProblemsFound

HOW = "Look into it with `modelward audit verify`; set audit.postgres.schema_name to begin another log"
READ_SECONDS = 60.0
AHEAD = 16  # tiles or bundles that are read at once by who reads in order
MOST_BYTES = TILE * LARGEST_RECORD  # of these records; the first bundle is whole in any case
PAGE = 1000  # checkpoints, likewise
NOTE = f"substring(note FOR {LARGEST_NOTE + 1})"  # a longer one is none, and is not fetched whole
OTHERS = 5  # logs that are named

logger = logging.getLogger("modelward.audit")


class _State(Struct, frozen=True):
    """What is committed, and the right edge of its tree."""

    checkpoint: Checkpoint
    note: bytes
    edge: Edge


class _Lost(Struct, frozen=True):
    """What was written by a commit whose answer was lost."""

    records: tuple[Record, ...]
    first: int
    size: int
    note: bytes


class PostgresLog:
    """The writing end. Use `open`."""

    def __init__(self, settings: Postgres, signer: Signer, last: Last | None = None) -> None:
        self._settings = settings
        self._schema = settings.schema_name
        self._signer = signer
        self._log = signer.name
        self._database = Database(settings)
        self._last = last
        confirmed = last.read(signer.verifier) if last is not None else None
        self._state = _State(confirmed or Checkpoint(signer.name, 0, EMPTY), b"", Edge())  # what is read must hold it
        self._lost: _Lost | None = None

    @classmethod
    def open(cls, settings: Postgres, signer: Signer, last: Last | None = None) -> PostgresLog:
        """Makes the tables where there are none, and goes on with the log. last: what was confirmed, kept elsewhere;
        the log must hold it. Raises ProblemsFound, OSError."""
        log = cls(settings, signer, last)
        try:
            log._prepare()
        except Failed:  # as where another server made the tables at the same time
            log._prepare()
        log._state = log._database.run(log._newest)
        if not log._state.note:
            log._tell_others()
        return log

    def _prepare(self) -> None:
        self._database.run(lambda cursor: prepare(cursor, self._schema, self._settings.where))

    @property
    def checkpoint(self) -> Checkpoint:
        return self._state.checkpoint

    def reader(self) -> PostgresReader:
        return PostgresReader(self._settings, self._log)

    def close(self) -> None:
        self._database.close()

    def append(self, records: Sequence[Record]) -> int:
        """Where the commit of the same records was never answered, and happened, they are not written again."""
        if (first := self._settle(records)) is not None:
            return first
        try:
            self._state = self._database.run(lambda cursor: self._add(cursor, records))
        except Failed as failed:
            if not failed.unsure:
                self._lost = None
            if (first := self._settle(records)) is not None:
                return first
            raise
        self._lost = None
        self._keep(self._state)
        return self._state.checkpoint.size - len(records)

    def _add(self, cursor: Any, records: Sequence[Record]) -> _State:
        before = self._newest(cursor)
        self._state = before
        edge, first = before.edge.copy(), before.checkpoint.size
        leaves, hashes = [], []
        for number, record in enumerate(records, first):
            leaf = record.encoded(number)
            if len(leaf) > LARGEST_RECORD:
                raise ValueError(f"a record has at most {LARGEST_RECORD} bytes")
            leaves.append(leaf)
            found = leaf_hash(leaf)
            hashes.append((0, number, found))
            for level, filled in edge.append(found):
                hashes.append((level + 1, number >> LEVELS_PER_TILE * (level + 1), tile_root(filled)))
        size = first + len(records)
        checkpoint = Checkpoint(self._log, size, edge.root() if size else EMPTY)
        note = stamped(checkpoint, self._signer, int(time.time()))
        if leaves:
            cursor.execute(
                f"INSERT INTO {self._schema}.records (log, n, record)"
                " SELECT %s, %s + i - 1, r FROM unnest(%s::bytea[]) WITH ORDINALITY AS u (r, i)",
                (self._log, first, leaves),
            )
            levels, numbers, values = zip(*hashes, strict=True)
            cursor.execute(
                f"INSERT INTO {self._schema}.hashes (log, level, n, hash)"
                " SELECT %s, * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])",
                (self._log, list(levels), list(numbers), list(values)),
            )
        cursor.execute(
            f"INSERT INTO {self._schema}.checkpoints (log, size, note) VALUES (%s, %s, %s)",
            (self._log, size, note),
        )
        self._lost = _Lost(tuple(records), first, size, note)  # until the answer is there
        return _State(checkpoint, note, edge)

    def _settle(self, records: Sequence[Record]) -> int | None:
        """The number of the first, where their commit was never answered, and happened. Raises OSError."""
        lost = self._lost
        if lost is None:
            return None

        def look(cursor: Any) -> _State | None:
            lock(cursor, self._schema, self._log)  # who committed has ended
            cursor.execute(
                f"SELECT 1 FROM {self._schema}.checkpoints WHERE log = %s AND size = %s AND note = %s",
                (self._log, lost.size, lost.note),
            )
            return self._newest(cursor) if cursor.fetchone() is not None else None

        found = self._database.run(look)
        self._lost = None
        if found is None:
            return None
        self._state = found
        self._keep(found)
        return lost.first if list(records) == list(lost.records) else None

    def _keep(self, confirmed: _State) -> None:
        if self._last is not None and confirmed.checkpoint.size:
            self._last.keep(confirmed.note)

    def _tell_others(self) -> None:
        """Of a log that begins: a server that was moved without its key begins another one."""
        others = self._database.run(lambda cursor: _Rows(cursor, self._schema, self._log).others())
        if others:
            how = "if this server has written one of them, stop it, and bring the key of that log"
            words, where = ", ".join(others), self._settings.where
            logger.warning("%s: a new log begins, %s; it holds others: %s; %s", where, self._log, words, how)

    @property
    def _how(self) -> str:
        return self._last.how if self._last is not None else HOW

    def _newest(self, cursor: Any) -> _State:
        """With the lock. Another server may have gone on. Raises ProblemsFound where what is there is no continuation
        of what was there."""
        lock(cursor, self._schema, self._log)
        read = _Rows(cursor, self._schema, self._log)
        data = read.newest()
        ours = self._state
        where, size = self._settings.where, ours.checkpoint.size
        if not data:
            if size or read.any():
                raise ProblemsFound([Problem("the log has lost its checkpoints", where, how=self._how)])
            return ours
        if data == ours.note:
            return ours
        try:
            note = Note.parse(data)
            note.verify(self._signer.verifier)
            checkpoint = Checkpoint.parse(note.text)
            edge = Edge(
                [
                    split(read.hashes(level, checkpoint.size >> LEVELS_PER_TILE * (level + 1), width)) if width else []
                    for level, width in enumerate(widths(checkpoint.size))
                ]
            )
            if checkpoint.origin != self._log or edge.size != checkpoint.size or edge.root() != checkpoint.root:
                raise ProblemsFound([Problem("the log is not what its checkpoint says", where, how=HOW)])
            if size and checkpoint.size >= size:
                proof = consistency_proof(size, checkpoint.size, nodes(checkpoint.size, read.hashes))
            else:
                proof = []
            check_consistency(size, checkpoint.size, ours.checkpoint.root, checkpoint.root, proof)
        except ProofFails:
            why = f"it has {checkpoint.size} records, and not the {size} that were confirmed last"
            raise ProblemsFound([Problem(TAKEN_BACK, where, why, self._how)]) from None
        except OtherKey as error:
            folder = self._last.file.parent if self._last is not None else None
            raise ProblemsFound([key.of_another(where, error, folder)]) from None
        except (NotSigned, Gone, ValueError) as error:
            raise ProblemsFound([Problem("the log cannot be continued", where, str(error), HOW)]) from None
        return _State(checkpoint, data, edge)


class _Rows:
    """What the tables hold of a log, read in one transaction."""

    def __init__(self, cursor: Any, schema: str, log: str) -> None:
        self._cursor = cursor
        self._schema = schema
        self._log = log

    def _all(self, statement: str, *values: Any) -> list[Any]:
        self._cursor.execute(statement.format(schema=self._schema), (self._log, *values))
        return list(self._cursor.fetchall())

    def newest(self) -> bytes:
        rows = self._all(
            f"SELECT {NOTE} FROM {{schema}}.checkpoints WHERE log = %s ORDER BY size DESC, id DESC LIMIT 1"
        )
        return bytes(rows[0][0]) if rows else b""

    def any(self) -> bool:
        return bool(self._all("SELECT 1 FROM {schema}.hashes WHERE log = %s LIMIT 1"))

    def others(self) -> list[str]:
        """Names of some other logs."""
        found: list[str] = []
        last = ""
        while len(found) < OTHERS:  # one step of the index each: a log has millions of checkpoints
            rows = self._all("SELECT min(log) FROM {schema}.checkpoints WHERE log <> %s AND log > %s", last)
            if rows[0][0] is None:
                break
            last = rows[0][0]
            found.append(last)
        return found

    def checkpoints(self, after: tuple[int, int]) -> list[tuple[int, int, bytes]]:
        """Later ones: (size, id, note)."""
        return self._all(
            f"SELECT size, id, {NOTE} FROM {{schema}}.checkpoints WHERE log = %s AND (size, id) > (%s, %s)"
            f" ORDER BY size, id LIMIT {PAGE}",
            *after,
        )

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """Raises Gone."""
        found = self.tiles(level, index * TILE, index * TILE + width).get(index, b"")
        return whole_tile(level, index, width, found)

    def tiles(self, level: int, first: int, end: int) -> dict[int, bytes]:
        """Hashes of each tile, as far as its rows are there."""
        rows = self._all(
            f"SELECT n / {TILE}, string_agg(hash, ''::bytea ORDER BY n) FROM {{schema}}.hashes"
            f" WHERE log = %s AND level = %s AND n >= %s AND n < %s AND octet_length(hash) = {HASH} GROUP BY 1",
            level,
            first,
            end,
        )
        return {index: bytes(data) for index, data in rows}

    def records(self, first: int, end: int) -> dict[int, bytes | int]:
        """As many as MOST_BYTES hold. Of one that is longer than any may be only its length: it is not fetched."""
        rows = self._all(
            f"SELECT n, CASE WHEN size <= {LARGEST_RECORD} THEN record END, size FROM (SELECT n, record,"
            " octet_length(record) AS size,"
            f" sum(least(octet_length(record), {LARGEST_RECORD})) OVER (ORDER BY n) AS total"
            f" FROM {{schema}}.records WHERE log = %s AND n >= %s AND n < %s) AS found WHERE total <= {MOST_BYTES}"
            " ORDER BY n",
            first,
            end,
        )
        return {number: length if record is None else bytes(record) for number, record, length in rows}


def whole_tile(level: int, index: int, width: int, found: bytes) -> bytes:
    """Raises Gone where some of its hashes are missing."""
    if len(found) < width * HASH:
        raise Gone(f"hashes {index * TILE} to {index * TILE + width - 1} of level {level} are incomplete")
    return found[: width * HASH]


def remove_records(settings: Postgres, log: str, first: int, end: int) -> None:
    """From `first` to before `end`; their hashes stay. Needs the right to delete. Raises OSError."""
    database = Database(settings, READ_SECONDS)
    statement = f"DELETE FROM {settings.schema_name}.records WHERE log = %s AND n >= %s AND n < %s"
    try:
        database.run(lambda cursor: cursor.execute(statement, (log, first, end)))
    finally:
        database.close()


class PostgresReader:
    """What the tables hold of a log. It is believed nothing: see modelward.audit.verify. Any call raises OSError."""

    def __init__(self, settings: Postgres, log: str) -> None:
        self._database = Database(settings, READ_SECONDS)
        self._schema = settings.schema_name
        self._log = log
        # of who reads in order: by level (-1 for records), what was read ahead, and where they will go on
        self._ahead: dict[int, dict[int, Any]] = {}
        self._next: dict[int, int] = {}

    def close(self) -> None:
        self._database.close()

    def note(self) -> Note:
        data = self._database.run(lambda cursor: _Rows(cursor, self._schema, self._log).newest())
        if not data:
            others = self._database.run(lambda cursor: _Rows(cursor, self._schema, self._log).others())
            told = f"; it holds {', '.join(others)}" if others else ""
            raise FileNotFoundError(errno.ENOENT, f"the database holds no log of the name {self._log}{told}")
        return Note.parse(data)

    def history(self) -> Iterator[Note]:
        after = -1, 0

        def page(cursor: Any) -> list[tuple[int, int, bytes]]:
            return _Rows(cursor, self._schema, self._log).checkpoints(after)

        while rows := self._database.run(page):
            for size, identity, note in rows:
                after = size, identity
                yield Note.parse(bytes(note))

    def hashes(self, level: int, index: int, width: int) -> bytes:
        def read(cursor: Any, first: int, end: int) -> dict[int, bytes]:
            return _Rows(cursor, self._schema, self._log).tiles(level, first, end)

        return whole_tile(level, index, width, self._read(level, index, width, read) or b"")

    def bundle(self, index: int, width: int) -> list[bytes]:
        def read(cursor: Any, first: int, end: int) -> dict[int, dict[int, bytes | int]]:
            bundles: dict[int, dict[int, bytes | int]] = {}
            for number, record in _Rows(cursor, self._schema, self._log).records(first, end).items():
                bundles.setdefault(number // TILE, {})[number] = record
            return bundles

        found = self._read(-1, index, width, read) or {}
        wanted = range(index * TILE, index * TILE + width)
        if not found:
            raise Gone(f"records {wanted[0]} to {wanted[-1]} are gone", missing=True)
        for number in wanted:
            if (record := found.get(number)) is None:
                raise Gone(f"record {number} is gone", number)
            if isinstance(record, int):
                raise Gone(f"record {number} has {record} bytes, and none has more than {LARGEST_RECORD}", number)
        return [found[number] for number in wanted]

    def records(self, first: int, end: int) -> Iterator[bytes]:
        for index in range(first // TILE, -(-end // TILE)):
            start = index * TILE
            yield from self.bundle(index, min(TILE, end - start))[max(0, first - start) :]

    def _read(self, level: int, index: int, width: int, read: Any) -> Any:
        """A tile or bundle; of those that are full also what follows, where the one before it was read last."""
        first = index * TILE
        if width < TILE:
            return self._database.run(lambda cursor: read(cursor, first, first + width)).get(index)
        held = self._ahead.get(level, {})
        if index not in held:
            tiles = AHEAD if self._next.get(level) == index else 1
            held = self._ahead[level] = self._database.run(lambda cursor: read(cursor, first, first + tiles * TILE))
            if (last := max(held, default=index)) != index:
                del held[last]  # it may not be full yet
        self._next[level] = index + 1
        return held.get(index)
