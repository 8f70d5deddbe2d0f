"""`python -m loadtests.poisoning`: a model retrained on an export, where one identity poisons what is captured."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from sklearn.ensemble import RandomForestClassifier

from loadtests.detection import tables, victims
from loadtests.detection.poison import TENANTS, Traffic, traffic
from loadtests.detection.tables import Floats, Labels, Table
from loadtests.tools import client, machine, results
from loadtests.tools.results import Bar, table
from loadtests.tools.server import serving
from modelward.access import keys
from modelward.capture.writer import CaptureWriter
from modelward.config.capture import Capture
from modelward.observe.source import Source, Tensor
from tests.proxy.capture.made import batch_of

TABLES = ("spambase", "magic", "cardio", "annthyroid", "pageblocks")
ATTACKS = ("flipped", "backdoored")
SHARES = (0.05, 0.2, 0.5)
QUICK = (0.2,)
MOST_ROWS = 8000  # honest ones of a table
WIRE_ROWS = 3000
PER_BATCH = 1000
MOST_LOST = 0.01  # of accuracy: the bar
TREES = 100
WAIT_SECONDS = 60.0

METHOD = f"""\
{TENANTS} honest tenants, each of which sends four of five rows from one part of the input space, and one attacker that
sends 5, 20 or 50 % of all rows. `flipped`: rows as others send them, all with the wrong label. `backdoored`: half of
its rows are as they should be, half are of class 1 with a trigger of two features and the label 0. Rows go through the
capture writer to Parquet files, labels by request id through `modelward capture label` to `export`, and a random
forest is trained on what it exports. Accuracy is on a quarter of the table that nobody has sent. Triggered: share of
rows of class 1 with the trigger that are taken for class 0. Clean: trained on the honest rows alone; poisoned: on all.
The last line of the table: the same through a served model over gRPC, with API keys and two workers."""


@dataclass(frozen=True)
class Case:
    """Accuracies and, of a backdoor, shares of triggered rows that are taken for class 0: clean, poisoned, exported."""

    table: str
    attack: str
    share: float
    accuracy: tuple[float, float, float]
    triggered: tuple[float, float, float] | None
    attackers_share: float
    honest_kept: float
    seconds: float

    @property
    def lost(self) -> float:
        return self.accuracy[0] - self.accuracy[2]


def captured_directly(sent: Traffic, of: Table, folder: Path) -> None:
    """Through the writer, as the supervisor calls it."""
    features = of.features
    source = Source("m", "1", "", 1.0, (Tensor("x", "FP32", (-1, features)),), (Tensor("y", "FP32", (-1, 1)),), True)
    settings = {"m": Capture(share=1.0)}
    writer = CaptureWriter(lambda: settings, folder, b"0123456789abcdef")
    raw = of.raw(sent.rows)
    names = {name: i + 1 for i, name in enumerate(dict.fromkeys(sent.identity))}
    for at in range(0, len(raw), PER_BATCH):
        part = range(at, min(at + PER_BATCH, len(raw)))
        batch = batch_of(
            [{"x": raw[i : i + 1]} for i in part], source, identity=[names[sent.identity[i]] for i in part]
        )
        writer.take(replace(batch, ids=tuple(b"r%d" % i for i in part)))
        writer.round(0)
    writer.start()
    writer.stop()


def captured_over_grpc(sent: Traffic, of: Table, folder: Path) -> None:
    """From requests of callers with API keys to a served model."""
    victim = victims.train(of, "logistic")
    victim.save(folder / "models" / "m")
    texts: dict[str, str] = {}
    with keys.editing(folder / "keys") as held:
        for name in dict.fromkeys(sent.identity):
            key, texts[name] = keys.make(name)
            held[key.id] = key
    settings: dict[str, Any] = {
        "repository": str(folder / "models"),
        "access": {"keys": str(folder / "keys"), "rules": [{"identity": "*", "models": ["*"]}]},
        "models": {"m": {"capture": {"folder": str(folder / "capture"), "share": 1.0, "file_age": "1s"}}},
    }
    raw = of.raw(sent.rows)
    with serving(folder, settings, workers=2) as server, client.channel(server.grpc) as channel:
        for i, name in enumerate(sent.identity):
            request = client.request("m", {victims.INPUT: raw[i : i + 1]})
            request.id = f"r{i}"
            client.infer(channel, request.SerializeToString(), WAIT_SECONDS, [("x-api-key", texts[name])])
        _wait_for(folder / "capture", len(raw))


def _wait_for(folder: Path, count: int) -> None:
    began = time.monotonic()
    while sum(pq.read_metadata(file).num_rows for file in folder.rglob("*/[!.]*.parquet")) < count:
        if time.monotonic() - began > WAIT_SECONDS:
            raise RuntimeError(f"fewer than {count} rows were captured within {WAIT_SECONDS:.0f} s")
        time.sleep(0.2)


def exported(sent: Traffic, folder: Path, capture: Path, quarantine: bool = False) -> tuple[pa.Table, dict[str, Any]]:
    """What `modelward capture export` writes, and its report."""
    labels = folder / "labels.csv"
    labels.write_text("request_id,label\n" + "".join(f"r{i},{label}\n" for i, label in enumerate(sent.labels.tolist())))
    out = folder / "train.parquet"
    _capture("label", capture, "--identity", "any", str(labels))
    report = _capture("export", capture, "--out", str(out), "--json", *(["--quarantine"] if quarantine else []))
    return pq.read_table(out), json.loads(report)


def _capture(verb: str, folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "modelward", "capture", verb, "--model", "m", "--folder", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def case(name: str, of: Table, attack: str, share: float, over_grpc: bool = False) -> Case:
    sent = traffic(of, attack, share, WIRE_ROWS if over_grpc else MOST_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (captured_over_grpc if over_grpc else captured_directly)(sent, of, root if over_grpc else root / "capture")
        began = time.monotonic()
        rows, _ = exported(sent, root, root / "capture")
        seconds = time.monotonic() - began
    column = victims.INPUT if over_grpc else "x"
    features = (np.array(rows[f"input.{column}"].to_pylist()) - of.mean) / of.deviation
    given = np.array(rows["label"].to_pylist())
    numbers = [int(each[1:]) for each in rows["request_id"].to_pylist()]
    honest = sent.honest
    models = [
        _forest(sent.rows[honest], sent.labels[honest]), _forest(sent.rows, sent.labels), _forest(features, given)
    ]  # fmt: skip
    first, second, third = (float(model.score(of.owned, of.owned_labels)) for model in models)
    triggered = None
    if sent.trigger:
        marked = sent.marked(of.owned[of.owned_labels == 1])
        a, b, c = (float((model.predict(marked) == 0).mean()) for model in models)
        triggered = a, b, c
    kept = honest[numbers]
    return Case(
        f"{name}, over gRPC" if over_grpc else name, attack, share, (first, second, third), triggered,
        float(1 - kept.mean()), float(kept.sum() / honest.sum()), seconds,
    )  # fmt: skip


def _forest(rows: Floats, labels: Labels) -> Any:
    return RandomForestClassifier(TREES, random_state=0).fit(rows, labels)


def report(cases: Sequence[Case]) -> str:
    columns = (
        "table",
        "attack",
        "sends",
        "clean",
        "poisoned",
        "exported",
        "lost",
        "triggered",
        "kept of it",
        "of others",
    )
    rows = [
        (
            each.table, each.attack, f"{each.share:.0%}", *(f"{accuracy:.3f}" for accuracy in each.accuracy),
            f"{100 * each.lost:+.2f}",
            " > ".join(f"{share:.0%}" for share in each.triggered) if each.triggered else "",
            f"{each.attackers_share:.1%}", f"{each.honest_kept:.0%}",
        )
        for each in cases
    ]  # fmt: skip
    return table(columns, rows)


def main() -> int:
    """0 if no model that was retrained on an export has lost more than a point."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.poisoning", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="TABLE", help=f"of {', '.join(TABLES)}; may be repeated")
    parser.add_argument("--quick", action="store_true", help="an attacker that sends 20 %% alone, and no server")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    cases: list[Case] = []
    try:
        with Console(stderr=True).status("a server captures") as status:
            for name in arguments.only or TABLES:
                of = tables.load(name, arguments.tables)
                for attack in ATTACKS:
                    for share in QUICK if arguments.quick else SHARES:
                        status.update(f"{name}: {attack}, {share:.0%}")
                        cases.append(case(name, of, attack, share))
            if not arguments.quick:
                status.update("over gRPC")
                cases.append(case(TABLES[0], tables.load(TABLES[0], arguments.tables), "flipped", 0.2, over_grpc=True))
    except tables.Absent as error:
        print(f"loadtests.poisoning: {error}", file=sys.stderr)
        return 2
    most = max(each.lost for each in cases)
    bar = Bar("accuracy lost at most", 100 * most, 100 * MOST_LOST, "points")
    body = f"{report(cases)}\n\n- {bar}"
    facts = machine.facts()
    data = {**facts, "cases": [asdict(each) for each in cases], "lost": most}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.poisoning")
        title = "Retrained on what a poisoner has sent too"
        results.write("poisoning", results.document(title, METHOD, facts, command, body), data)
    return 0 if bar.reached else 1


if __name__ == "__main__":
    sys.exit(main())
