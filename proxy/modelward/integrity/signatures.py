"""The signatures of a repository: read, and verified together, since each verification starts a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from modelward.config.address import OFF
from modelward.config.schema import Config
from modelward.defect import as_problem
from modelward.integrity.bundle import LARGEST
from modelward.integrity.signature import Verdict, Verdicts
from modelward.integrity.trust import Trust, load_trust
from modelward.integrity.version_files import signature_file
from modelward.problem import ProblemsFound
from modelward.repository.files import read_inside
from modelward.repository.scan import ModelFolder

_known = Verdicts()
Verify = Callable[[Sequence[bytes], Trust], list[Verdict]]


def verdicts_on(config: Config, models: Iterable[ModelFolder], verify: Verify = _known.of) -> dict[Path, Verdict]:
    """By the file of the version's model, where there is a signature and one is asked for. Blocks.

    verify: what judges the signatures, in their order. Raises ProblemsFound where what the configuration trusts cannot
    be read, or nothing can be verified.
    """
    if config.integrity is None:
        return {}
    trust = load_trust(config.integrity)
    bundles: dict[Path, bytes] = {}
    found: dict[Path, Verdict] = {}
    for folder in models:
        if config.trust(folder.name).require == OFF:
            continue
        for version in folder.versions:
            signature = signature_file(version.file)
            try:
                with as_problem(f"model {folder.name} version {version.number}"):
                    if signature.exists() or signature.is_symlink():
                        bundles[version.file] = read_inside(folder.root, signature, LARGEST)
            except ProblemsFound as problem:
                found[version.file] = problem.problems[0].what
    return found | dict(zip(bundles, verify(list(bundles.values()), trust), strict=True))
