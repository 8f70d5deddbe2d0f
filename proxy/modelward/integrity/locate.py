"""Where the files of one version lie, from a path that a person gives: its folder, or its model's file."""

from pathlib import Path

from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import canonical
from modelward.repository.scan import MODEL_FILE


def model_file(path: Path) -> Path:
    """The model's file in the version's folder `path`, or that file itself; without links. Raises ProblemsFound."""
    try:
        found = canonical(path)
        if found.is_dir():
            found = canonical(found / MODEL_FILE)
    except OSError as error:
        how = f"Name the folder of a version, with {MODEL_FILE} in it, or the file of a model"
        raise ProblemsFound(
            [Problem("there is no such version", str(path), error.strerror or str(error), how)]
        ) from error
    return found
