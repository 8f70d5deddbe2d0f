"""The witnesses of a running server's audit log: each is told of new checkpoints, beside everything else.

Nothing waits for them. A witness that cannot be reached is tried again; one that refuses says that the log was
rewritten, which is told in READY, in the log, in a metric and in the trail itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from modelward.atomic_file import replacing
from modelward.audit.log import Reader
from modelward.audit.note import COSIGNATURE, Checkpoint, Note, Verifier
from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.audit.submission import Failed, Post, Refused, Submission
from modelward.audit.witness import LARGEST_REQUEST, OK, Answer, Request
from modelward.audit.witness import Witness as Memory
from modelward.config.shown_url import without
from modelward.config.witness import Witness, names
from modelward.problem import Problem, ProblemsFound

log = logging.getLogger("modelward.audit")

INTERVAL_SECONDS = 2.0
"""Between two looks for a new checkpoint."""
REPEAT_SECONDS = 60.0
"""Between two tellings of the same checkpoint, and of tries at most."""
TIMEOUT_SECONDS = 10.0
LOG_SECONDS = 60.0
LARGEST_ANSWER = 1 << 16
REFUSED = "witness.refused"


class _Told(Struct):
    name: str
    settings: Witness
    submission: Submission
    file: Path
    refused: str = ""
    failed: str = ""
    refusals: int = 0
    failures: int = 0
    at: float = field(default=-REPEAT_SECONDS)  # monotonic seconds
    logged_at: float = field(default=-LOG_SECONDS)
    pause: float = INTERVAL_SECONDS


class Witnesses:
    """Use `start` and `stop`. open_reader: gives each a reader of its own. folder: of the cosigned checkpoints."""

    def __init__(
        self,
        settings: Sequence[Witness],
        open_reader: Callable[[], Reader],
        verifier: Verifier,
        folder: Path,
        trail: Recorder,
        *,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._verifier = verifier
        self._trail = trail
        self._interval = interval
        self._tasks: list[asyncio.Task[None]] = []
        self._told = [
            _Told(name, each, Submission(open_reader(), verifier, _post(each, verifier), key_of(each)), folder / str(i))
            for i, (name, each) in enumerate(zip(names(settings), settings, strict=True))
        ]

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._tell(each), name="witness") for each in self._told]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self._told:
            each.submission.close()

    @property
    def words(self) -> str:
        """For READY and status. A webhook is told, and vouches for nothing."""
        said: list[str] = []
        reached: dict[tuple[str, int], list[str]] = {}
        for each in self._told:
            if each.refused:
                said.append(f"{each.name} REFUSES the log: {each.refused}")
            elif each.failed:
                said.append(f"{each.name} is not told: {each.failed}")
            else:
                how = "told to" if each.settings.webhook is not None else "witnessed by"
                reached.setdefault((how, each.submission.size), []).append(each.name)
        said += [f"{how} {', '.join(each)} up to record {size}" for (how, size), each in reached.items()]
        return "; ".join(said)

    def sizes(self) -> dict[str, int]:
        return {each.name: each.submission.size for each in self._told}

    def failures(self) -> dict[tuple[str, str], int]:
        """By witness, and `refused` or `failed`."""
        counts = [((each.name, "refused"), each.refusals) for each in self._told]
        return dict(counts + [((each.name, "failed"), each.failures) for each in self._told])

    async def _tell(self, told: _Told) -> None:
        while True:
            await self._once(told)
            await asyncio.sleep(self._interval if not told.failed else told.pause)

    async def _once(self, told: _Told) -> None:
        now, submission = time.monotonic(), told.submission
        try:
            if now - told.at < REPEAT_SECONDS and not told.failed and not await self._is_newer(submission):
                return
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                await submission.send()
            if submission.seen is not None:
                await submission.blocking(_keep, told.file, submission.seen)
        except Refused as error:
            self._refused(told, str(error))
        except Failed as error:
            self._failed(told, str(error))
        except TimeoutError:
            self._failed(told, f"it has not answered within {2 * TIMEOUT_SECONDS:g} s")
        except OSError as error:
            self._failed(told, f"its cosignature cannot be kept: {error.strerror}")
        except Exception as error:
            log.exception("a bug in what tells witnesses")
            self._failed(told, type(error).__name__)
        else:
            if told.refused or told.failed:
                log.warning("witness %s: it has seen the audit log again", told.name)
            told.refused = told.failed = ""
            told.pause = self._interval
        told.at = now

    async def _is_newer(self, submission: Submission) -> bool:
        return await submission.blocking(submission.newest) != submission.size

    def _refused(self, told: _Told, words: str) -> None:
        told.refusals += 1
        first, told.refused, told.failed = not told.refused, words, ""
        if first:
            log.error("witness %s REFUSES the audit log, which was rewritten: %s", told.name, words)
            self._trail.note(automatic(REFUSED, object=told.name, reason=words))

    def _failed(self, told: _Told, words: str) -> None:
        told.failures += 1
        told.failed, told.pause = words, min(2 * told.pause, REPEAT_SECONDS)
        now = time.monotonic()
        if now - told.logged_at >= LOG_SECONDS:
            told.logged_at = now
            log.warning("witness %s: it is not told of the audit log: %s", told.name, words)


def _keep(file: Path, note: Note) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(file) as out:
        out.write(bytes(note))


def key_of(settings: Witness) -> Verifier | None:
    """Raises ProblemsFound."""
    if settings.key is None:
        return None
    try:
        verifier = Verifier.parse(settings.key)
        if verifier.kind != COSIGNATURE:
            raise ValueError("it is the key of a log, and not of a witness")
    except ValueError as error:
        how = "Set it to what the witness prints when it starts"
        raise ProblemsFound([Problem("this is no key of a witness", "audit.witnesses.key", str(error), how)]) from None
    return verifier


def _post(settings: Witness, log_key: Verifier) -> Post:
    if settings.folder is not None:
        memory = Memory(settings.folder, [log_key], None)

        async def keep(submission: Submission, body: bytes) -> Answer:
            return await submission.blocking(memory.add, body, int(time.time()))

        return keep
    if settings.webhook is not None:
        webhook = settings.webhook

        async def tell(_: Submission, body: bytes) -> Answer:
            """It is asked for nothing: whatever it answers well counts as seen."""
            request = Request.parse(body)
            note = Note.parse(request.note)
            checkpoint = Checkpoint.parse(note.text)
            fields = {"log": checkpoint.origin, "size": checkpoint.size, "checkpoint": request.note.decode()}
            answer = await post(settings, webhook, json.dumps(fields).encode(), "application/json")
            return Answer(OK, "") if 200 <= answer.status < 300 else answer

        return tell
    url = f"{(settings.url or '').rstrip('/')}/add-checkpoint"

    async def submit(_: Submission, body: bytes) -> Answer:
        return await post(settings, url, body, "text/plain; charset=utf-8")

    return submit


async def post(settings: Witness, url: str, body: bytes, kind: str) -> Answer:
    """Raises OSError."""
    import aiohttp  # noqa: PLC0415 - only where there is a witness

    assert len(body) <= 2 * LARGEST_REQUEST
    headers = {"Content-Type": kind}
    try:
        if (token := settings.token) is not None:
            headers["Authorization"] = f"Bearer {token}"
        authority = settings.certificate_authority
        context: Any = ssl.create_default_context(cafile=str(authority)) if authority else True
    except ValueError as error:
        raise OSError(f"its token_file cannot be read: {error}") from None
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(url, data=body, headers=headers, ssl=context, allow_redirects=False) as answer,
        ):
            data = await answer.content.read(LARGEST_ANSWER)
            text = data.decode("utf-8", "replace")
            text = text if answer.status == OK else without(url, text)
            return Answer(answer.status, text, answer.headers.get("Content-Type", ""))
    except aiohttp.ClientResponseError as error:  # whose text shows the URL, and what was answered
        raise OSError("its answer is no HTTP") from error
    except aiohttp.InvalidURL as error:
        raise OSError("its URL cannot be used") from error
    except aiohttp.ClientError as error:
        raise OSError(without(url, str(error)) or type(error).__name__) from error
