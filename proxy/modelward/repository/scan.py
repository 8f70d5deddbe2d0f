"""The model repository: Triton's layout REPOSITORY/NAME/VERSION/model.onnx, or one .onnx file as version 1 of its stem.

Optional beside them: NAME/model.yaml (settings) and NAME/VERSION/profile.npz. A scan lists names and files; it opens
none of them but the config.pbtxt of a folder without a model.
"""

import re
from pathlib import Path

from msgspec import Struct

from modelward.model_names import fault_of_name
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import SETTINGS_FILE, canonical, inside, read_inside
from modelward.repository.refused import Refused, problems_of

MODEL_FILE = "model.onnx"
PROFILE_FILE = "profile.npz"

LARGEST_PBTXT = 1 << 20
_ENSEMBLE = re.compile(rb"^\s*(platform\s*:\s*[\"']ensemble[\"']|ensemble_scheduling\b)", re.MULTILINE)
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Version(Struct, frozen=True):
    """One version of a model: its number and its file, which nothing has opened yet."""

    number: int
    file: Path

    @property
    def default_profile(self) -> Path:
        """Where its profile lies unless the settings say otherwise: it need not exist."""
        return default_profile(self.file)


class ModelFolder(Struct, frozen=True):
    """root: canonical folder that the model's files may not leave. versions: ascending by number."""

    name: str
    root: Path
    versions: tuple[Version, ...]
    settings_file: Path | None = None


class Repository(Struct, frozen=True):
    """models: by name. general: what prevents serving any of it. notes: what is left out, and probably not meant so.

    refused: folders that are no models, and versions without a file; other versions of the same model are in `models`.
    """

    path: Path
    models: tuple[ModelFolder, ...]
    general: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them."""
        return self.general + problems_of(self.refused)

    @property
    def names(self) -> list[str]:
        """Of all models, also those that are refused."""
        return [*dict.fromkeys([*(model.name for model in self.models), *(each.name for each in self.refused)])]


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


def listed(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Versions by model, ascending, as far as they can be listed."""
    models = scan(path).models if path is not None else ()
    return {folder.name: tuple(str(version.number) for version in folder.versions) for folder in models}


def _single(path: Path) -> Repository:
    if path.suffix.lower() != ".onnx":
        return Repository(
            path, (), (Problem("the file's name does not end in .onnx", str(path), how="Name an ONNX model"),)
        )
    if problem := name_problem(path.stem, str(path)):
        return Repository(path, (), (problem,))
    # The operator named this very file: a link given by hand may lead anywhere.
    file = canonical(path)
    return Repository(path, (ModelFolder(path.stem, file.parent, (Version(1, file),)),))


def _scan_folder(path: Path) -> Repository:
    root = canonical(path)
    models: list[ModelFolder] = []
    refused: list[Refused] = []
    notes: list[Problem] = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name == "lost+found":  # which a new file system has
            continue
        if not entry.is_dir():
            if entry.suffix.lower() == ".onnx":
                how = f"Move it to {entry.stem}/1/{MODEL_FILE}"
                notes.append(Problem("a model outside a model's folder is ignored", str(entry), how=how))
            continue
        try:
            inside(root, entry)
            folder = _scan_model(root, entry, refused, notes)
        except ProblemsFound as found:
            refused.append(Refused(entry.name, "", found.problems))
        except OSError as error:
            why = error.strerror or str(error)
            problem = Problem("the model's folder cannot be read", str(entry), why, "Check its permissions")
            refused.append(Refused(entry.name, "", (problem,)))
        else:
            if folder is not None:
                models.append(folder)
    empty = Problem("the repository is empty", str(path), how=f"Put a model at NAME/1/{MODEL_FILE}")
    general = () if models or refused else (empty,)
    return Repository(path, tuple(models), general, tuple(notes), tuple(refused))


def _scan_model(root: Path, folder: Path, refused: list[Refused], notes: list[Problem]) -> ModelFolder | None:
    if problem := name_problem(folder.name, str(folder)):
        refused.append(Refused(folder.name, "", (problem,)))
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
            why, how = _instead(folder, entry)
            problem = Problem(f"the version has no {MODEL_FILE}", str(entry), why, how)
            refused.append(Refused(folder.name, entry.name, (problem,)))
    if not versions:
        if complete:
            why = _of_ensemble(folder)
            how = _name_upstream(folder) if why else f"Put it at {folder}/1/{MODEL_FILE}"
            refused.append(Refused(folder.name, "", (Problem("the model has no version", str(folder), why, how),)))
        return None
    settings = folder / SETTINGS_FILE
    has_settings = settings.exists() or settings.is_symlink()
    versions.sort(key=lambda version: version.number)
    return ModelFolder(folder.name, root, tuple(versions), settings if has_settings else None)


# what other backends of Triton call their model, by the backend's name
FOREIGN = {
    "model.plan": "TensorRT",
    "model.py": "the Python backend",
    "model.pt": "PyTorch",
    "model.graphdef": "TensorFlow",
    "model.savedmodel": "TensorFlow",
    "model.xml": "OpenVINO",
    "model.dali": "DALI",
}


def _instead(folder: Path, version: Path) -> tuple[str, str]:
    """What a version without a model file seems to be, "" where nothing tells, and what to do."""
    how = f"Put the model at {version / MODEL_FILE}"
    for name, backend in FOREIGN.items():
        if (version / name).exists():
            return f"its {name} is a model of {backend}, which only Triton runs", how
    if others := sorted(each.name for each in version.iterdir() if each.suffix.lower() == ".onnx"):
        return f"it has {others[0]}", f"Rename {others[0]} to {MODEL_FILE}"
    why = _of_ensemble(folder)
    return why, _name_upstream(folder) if why else how


def _of_ensemble(folder: Path) -> str:
    try:
        written = read_inside(folder, folder / "config.pbtxt", LARGEST_PBTXT)
    except ProblemsFound:
        return ""
    return "its config.pbtxt is that of an ensemble, which only Triton runs" if _ENSEMBLE.search(written) else ""


def _name_upstream(folder: Path) -> str:
    return f"Name the Triton that runs it in models.{folder.name}.upstreams"
