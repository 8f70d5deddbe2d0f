"""What a signature calls that which it signs: MODEL/VERSION, where it is made for one version of one model.

Tools that know no repository write another name, such as that of the folder. Such a signature says nothing of model and
version.
"""

import os
import re
from pathlib import Path

from modelward.repository.scan import MODEL_FILE

_OF_A_VERSION = re.compile(r"[^/]+/[1-9][0-9]{0,17}", re.ASCII)


def name_of(model: str, version: int | str) -> str:
    return f"{model}/{version}"


def names_version(name: str) -> bool:
    return _OF_A_VERSION.fullmatch(name) is not None


def name_by_path(path: Path) -> str:
    """Of the version in the folder `path`, or of the model's file `path`, by its place in a repository; "" where that
    does not tell. Links are not followed: a repository may hold some."""
    where = Path(os.path.abspath(path))
    if not where.is_dir() and where.name != MODEL_FILE:
        return name_of(where.stem, 1)
    folder = where if where.is_dir() else where.parent
    name = name_of(folder.parent.name, folder.name)
    return name if names_version(name) else ""
