"""The files of versions that are served, read from disk again and compared with what was loaded. In a child process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from modelward.config.model import Anomaly
from modelward.config.schema import Config
from modelward.defect import as_problem
from modelward.integrity.naming import name_of
from modelward.integrity.signature import verify_all
from modelward.integrity.signatures import verdicts_on
from modelward.integrity.version_files import VersionFiles
from modelward.models.canary import LARGEST as LARGEST_CANARY
from modelward.models.canary import canary_file
from modelward.models.facts import Loaded
from modelward.models.model_file import load_artifact
from modelward.problem import ProblemsFound
from modelward.repository.scan import Version, default_profile, scan
from modelward.score.size import MAX_FILE
from modelward.sealing.opening import Opened

LOWEST_PRIORITY = 19


def compare(config: Config, loaded: Sequence[Loaded]) -> list[str]:
    """For each why its files are others now, "" where they are the same. Raises ProblemsFound where nothing can be
    verified."""
    os.nice(LOWEST_PRIORITY)
    repository = scan(config.repository) if config.repository is not None else None
    wanted = {each.model for each in loaded}
    folders = [folder for folder in (repository.models if repository else ()) if folder.name in wanted]
    verify = partial(verify_all, now=datetime.now(UTC))
    verdicts = verdicts_on(config, folders, verify)
    found = {(folder.name, str(version.number)): (folder, version) for folder in folders for version in folder.versions}
    reasons = []
    for each in loaded:
        if (place := found.get((each.model, each.version))) is None:
            reasons.append("the version is gone")
            continue
        trust = replace(config.trust(each.model), require=True if each.is_signed else "warn")
        try:
            with as_problem(f"model {each.model} version {each.version}"):
                verdict, name = verdicts.get(place[1].file), name_of(each.model, each.version)
                files = VersionFiles(place[0].root, place[1].file, _as_it_lies, trust, verdict, name=name)
                anomaly = config.settings(each.model).anomaly
                digest = files.end().digest if each.is_signed else _digest(files, place[1], anomaly)
        except ProblemsFound as problem:
            reasons.append(str(problem.problems[0]))
        else:
            reasons.append("" if digest == each.digest else f"its digest is {digest}, {each.digest} was loaded")
    return reasons


def _digest(files: VersionFiles, version: Version, anomaly: Anomaly) -> str:
    """Of an unsigned version, whose model alone tells which files it has."""
    load_artifact(files.root, version.file, files.read)
    for beside, largest in ((default_profile(version.file), MAX_FILE), (canary_file(version.file), LARGEST_CANARY)):
        if files.has(beside):
            files.read(files.root, beside, largest)
    own = version.file.parent / anomaly.profile if anomaly.profile is not None and anomaly.mode != "off" else None
    if own is not None and files.is_mine(own):
        files.read(files.root, own, MAX_FILE)
    return files.end().digest


def _as_it_lies(data: bytes, where: Path) -> Opened:
    """What is sealed was signed sealed."""
    return Opened(data)
