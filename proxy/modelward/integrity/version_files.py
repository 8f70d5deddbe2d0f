"""The files of one version as they are read: each once, as bytes, hashed and held against what was signed.

What was hashed is what is loaded: nothing reads a file a second time, so that a file which is swapped after it was
verified is not the one that is served.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from modelward.config.address import OFF
from modelward.config.integrity import ModelTrust
from modelward.integrity.digest import root_digest
from modelward.integrity.naming import names_version
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_MODEL, canonical, open_inside
from modelward.repository.scan import MODEL_FILE
from modelward.sealing.opening import Unseal, unseal_nothing
from modelward.sealing.reading import read_opened

if TYPE_CHECKING:
    from modelward.integrity.signature import Signed, Verdict

SIGNATURE_FILE = "model.sig"
UNREAD = ModelTrust("off")
LARGEST_UNREAD = 1 << 40  # bytes of a file that is signed and not loaded: it is only hashed
MEND = "Sign it again with a trusted key (modelward model sign), or trust its signer in `integrity`"
CHANGED = "Find out who changed it, and put the files back that were signed; sign again only what you know to be right"
WHOLE = "."  # a signature of one file alone names it so


class Provenance(Struct, frozen=True):
    """digest: of the version (modelward.integrity.digest). signer, kind: who has signed it and how, "" where no
    signature counts. doubt: why none does, where one is asked for and the version is served all the same. unnamed: it
    counts, and names no model and version, so that it would count for others too."""

    digest: str = ""
    signer: str = ""
    kind: str = ""
    doubt: str = ""
    unnamed: bool = False


NOTHING_KNOWN = Provenance()


def signature_file(model_file: Path) -> Path:
    """model.sig beside a model.onnx, for its whole folder; STEM.sig beside another file, which may have neighbours."""
    name = SIGNATURE_FILE if model_file.name == MODEL_FILE else f"{model_file.stem}.sig"
    return model_file.with_name(name)


class Unsigned(ProblemsFound):
    """No signature counts, where one must."""


class VersionFiles:
    """root: folder that no file may leave. file: the model's. unseal: opens what is sealed. trust: what is asked of the
    version's signature. verdict: on that signature; None where there is none. hashes: SHA-256 of what was read, by the
    name in the folder of the version; of sealed files as they lie there. key: name of the one that opened the last
    sealed file. name: MODEL/VERSION that its signature must be for; "" where any will do. is_unsigned: Unsigned was
    raised.

    Raises Unsigned where the signature is required and does not count; so do `read` and `end`.
    """

    def __init__(
        self,
        root: Path,
        file: Path,
        unseal: Unseal = unseal_nothing,
        trust: ModelTrust = UNREAD,
        verdict: Verdict | None = None,
        *,
        name: str = "",
    ) -> None:
        self.root = root
        self.unseal = unseal
        self.key = ""
        self.is_unsigned = False
        self.folder = file.parent
        self.hashes: dict[str, str] = {}
        self._folders = [self.folder]
        with contextlib.suppress(OSError):  # gone meanwhile: reading it tells
            self._folders.append(canonical(self.folder))
        self._file = file
        self._trust = trust
        self._signed = None if isinstance(verdict, str) else verdict
        self._doubt = ""
        if trust.require == OFF:
            self._signed = None
        elif verdict is None:
            self._object("the version is not signed", "", f"Sign it: modelward model sign {self.folder} --key KEY.pem")
        elif isinstance(verdict, str):
            self._object("the signature of the version does not count", verdict)
        elif not trust.allows(verdict.signer):
            why = f"{verdict.signer} is no signer of this model"
            self._object("the signature of the version does not count", why, "Add it to its signers, or sign it again")
        elif not (names := names_version(verdict.manifest.name)) and trust.names == "require":
            why = "it names no model and version, and integrity.names is require"
            self._object("the signature of the version does not count", why, self._again())
        elif names and name and verdict.manifest.name != name:
            why = f"it is made for {verdict.manifest.name}, and this is {name}"
            self._object("the signature is another version's", why, self._again(name))
        else:
            self._compare_names(verdict)

    @property
    def is_signed(self) -> bool:
        """A signature counts, so far."""
        return self._signed is not None

    def is_mine(self, file: Path) -> bool:
        """Whether it lies in the version's folder."""
        return file.parent == self.folder or file.is_relative_to(self.folder)

    def has(self, file: Path) -> bool:
        """Whether the version has a file that it need not have. One that was signed it has, also where it is gone
        meanwhile. A link that leads nowhere is one: reading it tells."""
        if self._signed is not None and self.name_of(file) in self._signed.manifest.files:
            return True
        is_there = file.exists() or file.is_symlink()
        if is_there and self._signed is not None:
            self._differs(file)
        return is_there

    def read(self, root: Path, path: Path, largest: int = LARGEST_MODEL) -> tuple[bytes, str]:
        """As modelward.repository.files.read_hashed, and opened where it is sealed."""
        (data, key), digest = read_opened(root, path, largest, self.unseal, partial(self._hold, path))
        self.key = key or self.key
        return data, digest

    def vouches(self, files: Iterable[Path], hashes: Iterable[str]) -> bool:
        """Whether these files, which were read before and have not changed, need not be read again."""
        pairs = [(self.name_of(file), digest) for file, digest in zip(files, hashes, strict=True)]
        if self._signed is not None and any(self._sha256_of(name) != digest for name, digest in pairs):
            return False
        self.hashes.update(pairs)
        return True

    def refuse_outside(self, file: Path) -> None:
        """A file that changes what the version does, and lies where no signature covers it."""
        if self._trust.require != OFF:
            what, how = "the file is no part of the version that was signed", "Put it into the version's folder"
            self._object(what, "it lies elsewhere", how, file)

    def end(self) -> Provenance:
        """Everything that is loaded was read: what else was signed is compared too."""
        if self._signed is not None:
            for name in self._signed.manifest.files:
                path = self._path(name)
                if self.name_of(path) not in self.hashes:
                    with open_inside(self.root, path, LARGEST_UNREAD) as (file, _):
                        if not self._signed.manifest.matches(name, file):
                            self._differs(path)
                            break  # where it is served all the same, one reason is enough
        if self._signed is None:
            return Provenance(root_digest(self.hashes), doubt=self._doubt)
        manifest = self._signed.manifest
        unnamed = not names_version(manifest.name)
        return Provenance(manifest.digest, self._signed.signer, self._signed.kind, unnamed=unnamed)

    def name_of(self, path: Path) -> str:
        """Within the folder of the version, as a signature has it; whole where it lies elsewhere."""
        for folder in self._folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return str(path)

    def _compare_names(self, signed: Signed) -> None:
        """That no file lies there which was not signed, and none is missing. Of one file among others nothing is known
        of its neighbours, which are not read."""
        if self._file.name != MODEL_FILE or WHOLE in signed.manifest.files:
            return
        from modelward.integrity.listing import difference  # noqa: PLC0415 - only where something is signed

        try:
            found = difference(self.folder, signed.manifest, SIGNATURE_FILE)
        except OSError as error:
            found = error.strerror or str(error)
        if found:
            self._object("the version's folder does not hold what was signed", found, CHANGED)

    def _hold(self, path: Path, data: bytes, digest: str) -> None:
        """Before these bytes are used. data: as they lie on disk."""
        name = self.name_of(path)
        self.hashes[name] = digest
        if self._signed is None:
            return
        known = self._sha256_of(name)
        if known != digest and (known is not None or not self._matches(name, io.BytesIO(data))):
            self._differs(path)

    def _sha256_of(self, name: str) -> str | None:
        assert self._signed is not None
        return self._signed.manifest.sha256_of(self._signed_name(name))

    def _matches(self, name: str, file: BinaryIO) -> bool:
        assert self._signed is not None
        return self._signed.manifest.matches(self._signed_name(name), file)

    def _signed_name(self, name: str) -> str:
        assert self._signed is not None
        return WHOLE if name == self._file.name and WHOLE in self._signed.manifest.files else name

    def _path(self, name: str) -> Path:
        return self._file if name == WHOLE else self.folder / name

    def _again(self, name: str = "MODEL/VERSION") -> str:
        path = self.folder if self._file.name == MODEL_FILE else self._file
        return f"Sign it if it belongs here: modelward model sign {path} --key KEY.pem --name {name}"

    def _differs(self, path: Path) -> None:
        assert self._signed is not None
        known = self._signed_name(self.name_of(path)) in self._signed.manifest.files
        why = "its bytes are others" if known else "the signature does not name it"
        self._object("the file is not the one that was signed", why, CHANGED, path)

    def _object(self, what: str, why: str, how: str = MEND, where: Path | None = None) -> None:
        """Refuses the version, or remembers why it is doubtful; no signature counts any more then."""
        problem = Problem(what, str(where or signature_file(self._file)), why, how)
        if self._trust.require is True:
            self.is_unsigned = True
            raise Unsigned([problem])
        self._doubt = self._doubt or (f"{what}: {why}" if why else what)
        self._signed = None
