"""Where a file of the pipeline is entered by others than its driver: a table of docs/design/stages.md.

The table is read from the cimports of the sources. The reasons are written here, one for each entry.
"""

import re
from collections.abc import Iterator

from scripts.docs import DOCS, ROOT, markdown

PAGE = DOCS / "design" / "stages.md"
SOURCES = ROOT / "native" / "modelward_native"
MARKED = re.compile(r"(<!-- entries -->\n).*?(<!-- /entries -->)", re.DOTALL)
CIMPORT = re.compile(r"^from modelward_native\.(stages|request)\.(\w+) cimport (\([^)]*\)|.*)$", re.MULTILINE)
DRIVER = "request/pipeline"
# beside the stages
WATCHED = ("request/reply", "request/streams")
# entries in the order of the list, which goes downwards
DOWNWARDS = {
    ("request/reply", "stages/reply"),
    ("stages/launch", "stages/admit"),
    *(
        ("request/streams", f"wire/{name}")
        for name in ("connection", "listener", "receive", "send", "session", "stream")
    ),
}
WHY = {
    (
        "request/reply",
        "backend/results",
    ): "writes the answer before the run's memory is given back, so before `release`",
    ("request/reply", "request/pipeline"): "adds what the guards have to say to an upstream's answer",
    ("request/reply", "stages/fallback"): "writes the answer of a fallback that is no model; `reply` takes it",
    ("request/streams", "access/attempts"): "a credential has been checked: the call goes on",
    ("request/streams", "access/credentials"): "a credential cannot be checked: the call is refused",
    ("request/streams", "request/cold_calls"): "refuses a call at its headers",
    ("request/streams", "request/pipeline"): "opens a call that has passed the stages at the headers, or refuses it",
    ("request/streams", "request/relays"): "refuses a message of a call that an upstream answers",
    ("request/streams", "stages/inflate"): "refuses a call whose message waited in vain to be inflated",
    ("stages/admit", "request/relays"): "a message of a relayed stream needs a permit",
    ("stages/admit", "stages/fallback"): "a model of the fallback chain needs a permit",
    ("stages/admit", "stages/release"): "a request that ends while it waits leaves the queue",
    ("stages/admit", "wire/session"): "a request that waits goes on: its client has read",
    ("stages/admit", "wire/tick"): "a request that waits goes on: a permit has come back",
    ("stages/deadline", "stages/hold"): "the timer is the delay's from here on",
    ("stages/deadline", "request/relays"): "a relayed message has a deadline until it goes up",
    ("stages/deadline", "request/streams"): "a new exchange gets its timer, not yet set",
    ("stages/deadline", "stages/decode"): "takes the margin off the client's deadline",
    ("stages/deadline", "stages/fallback"): "a fallback has the whole deadline again",
    ("stages/deadline", "stages/mirror"): "a shadow's copy has a deadline of its own",
    ("stages/deadline", "stages/send"): "an exchange that has ended needs its timer no more",
    ("stages/inflate", "request/relays"): "the messages of calls that an upstream answers may be compressed",
    ("stages/inflate", "request/streams"): "begins to inflate before `resolve`, which needs the model's name",
    ("stages/inflate", "wire/inflater"): "a message has been inflated, in a thread or at its turn",
    ("stages/launch", "stages/mirror"): "a shadow's copy passes no stage at arrival",
    ("stages/limit", "request/cold_calls"): "charges a call of which no model runs here",
    ("stages/limit", "request/relays"): "charges a message of a call that an upstream answers",
    ("stages/limit", "request/streams"): "charges a later message of a cold call",
    ("stages/limit", "stages/inflate"): "looks at the budget before anything is inflated, and charges what cannot be",
    ("stages/limit", "stages/peer"): "the same words for a refusal",
    ("stages/limit", "stages/resolve"): "charges a compressed message whose model cannot be read",
    ("stages/mirror", "request/server"): "ends all copies when the process ends",
    ("stages/mirror", "stages/record"): "sends the copies of cross-checks",
    ("stages/release", "backend/unanswered"): "a relayed message has its answer: its permit is given back",
    ("stages/release", "stages/launch"): "a request that does not reach its backend gives its permit back",
    ("stages/release", "stages/mirror"): "a copy that is not needed any more gives its permit back",
    ("stages/hold", "request/streams"): "a client has let go of an answer that is held back",
    ("stages/restrict", "stages/divert"): "the same words for a refusal",
    ("stages/send", "stages/hold"): "an answer was held back for long enough",
    (
        "stages/soften",
        "backend/relay_answers",
    ): "the answers of a stream that is bound to an upstream's come by themselves",
    ("stages/restrict", "stages/watch"): "the step that a policy makes of a record, with what this answer adds",
    ("stages/resolve", "shadow/crosscheck"): "a cross-check asks a version that is known",
    ("stages/resolve", "shadow/mirror"): "a copy asks a shadow that is known",
    ("stages/resolve", "stages/decode"): "the words for a model or version that is not served",
    ("stages/resolve", "stages/inflate"): "the words for a model or version that is not served",
    ("stages/send", "request/streams"): "a stream has ended, perhaps with nothing left to send",
}


def entries() -> dict[tuple[str, str], tuple[str, ...]]:
    """By a file of the pipeline and the file that enters it: the functions that the second cimports from the first."""
    found: dict[tuple[str, str], list[str]] = {}
    for source in sorted([*SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxd")]):
        by = source.relative_to(SOURCES).with_suffix("").as_posix()
        for file, functions in _cimported(source.read_text()):
            of_driver = by == DRIVER and file.startswith("stages/")
            if functions and file != by and not of_driver and not by.startswith("testing/"):
                found.setdefault((file, by), []).extend(functions)
    return {pair: tuple(functions) for pair, functions in sorted(found.items())}


def _cimported(text: str) -> Iterator[tuple[str, list[str]]]:
    """Types and constants begin with a capital letter."""
    for folder, module, names in CIMPORT.findall(text):
        file = f"{folder}/{module}"
        if file in WATCHED or (folder == "stages" and module != "stage"):
            yield file, [name for name in re.findall(r"\w+", re.sub(r" as \w+", "", names)) if name.islower()]


def with_entries(page: str) -> str:
    """Raises ValueError where the page has no place for the table, or an entry has no reason."""
    written, count = MARKED.subn(lambda place: f"{place[1]}\n{_table()}\n\n{place[2]}", page)
    if count != 1:
        raise ValueError(f"{count} places for the entries")
    return written


def _table() -> str:
    rows = []
    for (file, by), functions in entries().items():
        if (file, by) in DOWNWARDS:
            continue
        if (file, by) not in WHY:
            raise ValueError(f"{by} enters {file} without a reason in scripts/docs/entries.py")
        rows.append((markdown.code(file), markdown.code(by), ", ".join(map(markdown.code, functions)), WHY[file, by]))
    return markdown.table(("file", "entered by", "at", "why"), rows)
