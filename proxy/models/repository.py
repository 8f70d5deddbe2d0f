"""The model repository: Triton's layout REPOSITORY/NAME/VERSION/model.onnx, or one .onnx file as version 1 of its stem.

Optional beside them: NAME/model.yaml (settings) and NAME/VERSION/profile.npz. A scan lists names and files; it opens
none of them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from proxy.config.names import fault_of_name
from proxy.models.files import canonical, inside
from proxy.problem import Problem, ProblemsFound

MODEL_FILE = "model.onnx"
SETTINGS_FILE = "model.yaml"
PROFILE_FILE = "profile.npz"

_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True)
class Version:
    """One version of a model: its number and its file, which nothing has opened yet."""

    number: int
    file: Path

    @property
    def default_profile(self) -> Path:
        """Where its profile lies unless the settings say otherwise: it need not exist."""
        return default_profile(self.file)


@dataclass(frozen=True)
class ModelFolder:
    """root: canonical folder that the model's files may not leave. versions: ascending by number."""

    name: str
    root: Path
    versions: tuple[Version, ...]
    settings_file: Path | None = None


@dataclass(frozen=True)
class Repository:
    """models: by name. problems: what prevents serving. notes: what was left out, and is probably not meant so."""

    path: Path
    models: tuple[ModelFolder, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def default_profile(model_file: Path) -> Path:
    """profile.npz beside a model.onnx; STEM.profile.npz beside any other file, which may have neighbours."""
    if model_file.name == MODEL_FILE:
        return model_file.with_name(PROFILE_FILE)
    return model_file.with_name(f"{model_file.stem}.{PROFILE_FILE}")


def name_problem(name: str, where: str) -> Problem | None:
    """Why `name` cannot be a model's name: it is too long, reserved, or not plain printable text."""
    fault = fault_of_name(name)
    return None if fault is None else Problem(fault[0], where, fault[1], "Rename the model")


def scan(path: Path) -> Repository:
    """Lists what is under `path` (a folder, or one .onnx file). Reports problems instead of raising."""
    try:
        if path.is_dir():
            return _scan_folder(path)
        if path.is_file():
            return _single(path)
    except OSError as error:
        why = error.strerror or str(error)
        return Repository(
            path, (), (Problem("the repository cannot be read", str(path), why, "Check its permissions"),)
        )
    what = "this is neither a folder nor a file" if path.exists() else "there is no such file or folder"
    how = f"Name a folder with NAME/1/{MODEL_FILE} in it, or one .onnx file"
    return Repository(path, (), (Problem(what, str(path), how=how),))


def _single(path: Path) -> Repository:
    if path.suffix.lower() != ".onnx":
        return Repository(
            path, (), (Problem("the file's name does not end in .onnx", str(path), how="Name an ONNX model"),)
        )
    if problem := name_problem(path.stem, str(path)):
        return Repository(path, (), (problem,))
    # Whoever started the server named this very file: a link given by hand may lead anywhere.
    file = canonical(path)
    return Repository(path, (ModelFolder(path.stem, file.parent, (Version(1, file),)),))


def _scan_folder(path: Path) -> Repository:
    root = canonical(path)
    models: list[ModelFolder] = []
    problems: list[Problem] = []
    notes: list[Problem] = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if entry.suffix.lower() == ".onnx":
                how = f"Move it to {entry.stem}/1/{MODEL_FILE}"
                notes.append(Problem("a model outside a model's folder is ignored", str(entry), how=how))
            continue
        try:
            inside(root, entry)
            folder = _scan_model(root, entry, problems, notes)
        except ProblemsFound as found:
            problems += found.problems
        else:
            if folder is not None:
                models.append(folder)
    if not models and not problems:
        problems.append(Problem("the repository is empty", str(path), how=f"Put a model at NAME/1/{MODEL_FILE}"))
    return Repository(path, tuple(models), tuple(problems), tuple(notes))


def _scan_model(root: Path, folder: Path, problems: list[Problem], notes: list[Problem]) -> ModelFolder | None:
    if problem := name_problem(folder.name, str(folder)):
        problems.append(problem)
        return None
    versions: list[Version] = []
    complete = True
    for entry in folder.iterdir():
        if entry.name == "config.pbtxt":
            how = f"Write the settings to {folder.name}/{SETTINGS_FILE}"
            notes.append(Problem("Triton's config.pbtxt is not read", str(entry), how=how))
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        if not _VERSION.fullmatch(entry.name):
            how = "Version folders are positive whole numbers without leading zeros"
            notes.append(Problem("a folder that is no version is ignored", str(entry), how=how))
            continue
        file = entry / MODEL_FILE
        if file.exists() or file.is_symlink():
            versions.append(Version(int(entry.name), file))
        else:
            complete = False
            problems.append(Problem(f"the version has no {MODEL_FILE}", str(entry), how=f"Put the model at {file}"))
    if not versions:
        if complete:
            problems.append(Problem("the model has no version", str(folder), how=f"Put it at {folder}/1/{MODEL_FILE}"))
        return None
    settings = folder / SETTINGS_FILE
    has_settings = settings.exists() or settings.is_symlink()
    versions.sort(key=lambda version: version.number)
    return ModelFolder(folder.name, root, tuple(versions), settings if has_settings else None)
