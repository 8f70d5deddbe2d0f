"""What is known of a model file that was read and checked (modelward.models.model_file)."""

from pathlib import Path

from msgspec import Struct

from modelward.fingerprint import Fingerprint, fingerprint
from modelward.scanning.finding import Finding
from modelward.tensors import TensorSpec

__all__ = ["Artifact", "TensorSpec"]


class Artifact(Struct, frozen=True):
    """data: the model with all its weights, for ONNX Runtime's session; divisions that could trap are changed in it
    (modelward.models.divisions). sha256: of the file as it lies on disk.

    unpredictable: the operator that makes the time of a run depend on the values of its inputs, or "". unproven: one
    that is not known to bear tensors of no elements, or "". entangled: why rows of different requests are not shown to
    be independent, or "". costly: an operator for which it is opened in a child process first, or "". deadly: nodes
    that end the process on some values of its inputs, in words. files: what was read, with their fingerprint from
    before; hashes: the SHA-256 of each. Where weights lie in files beside the model, their locations and hashes are
    part of `sha256` too. opset: of ONNX's own domain, 0 where the model uses only others. findings: of a scan of the
    version, None where there was none. sealed: name of the key that opened it, or "".
    """

    file: Path
    data: bytes
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    unpredictable: str = ""
    unproven: str = ""
    files: tuple[Path, ...] = ()
    hashes: tuple[str, ...] = ()
    fingerprint: Fingerprint = ()
    entangled: str = ""
    costly: str = ""
    deadly: tuple[str, ...] = ()
    findings: tuple[Finding, ...] | None = None
    sealed: str = ""

    def __repr__(self) -> str:
        """Without what the model holds."""
        return f"Artifact({str(self.file)!r}, sha256={self.sha256!r})"

    @property
    def is_unchanged(self) -> bool:
        """Reading it again would give the same, as far as its files tell from outside."""
        return bool(self.files) and fingerprint(self.files) == self.fingerprint
