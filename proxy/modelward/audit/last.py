"""The last checkpoint that was confirmed, kept outside of the log: an older copy put in its place is found out.

It is written after the confirmation, which does not depend on it: it may be older than the log, never newer.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from modelward.atomic_file import replacing
from modelward.audit.log import Mishap
from modelward.audit.note import LARGEST_NOTE, Checkpoint, Note, NotSigned, Verifier
from modelward.bounded_file import read_regular

KEEPS_LAST = "last checkpoint"
"""What fails without harm, as a Mishap calls it."""
TAKEN_BACK = "the log was taken back"
MODE = 0o600


class Last(Struct, frozen=True):
    file: Path
    mishap: Mishap = lambda what, error: None

    def read(self, verifier: Verifier) -> Checkpoint | None:
        """None where none is kept, or what is kept is none of this key's."""
        try:
            note = Note.parse(read_regular(self.file, LARGEST_NOTE))
            note.verify(verifier)
            checkpoint = Checkpoint.parse(note.text)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.mishap(KEEPS_LAST, error)
            return None
        except (NotSigned, ValueError) as error:
            self.mishap(KEEPS_LAST, OSError(f"{self.file}: {error}"))
            return None
        return checkpoint if checkpoint.origin == verifier.name else None

    def keep(self, note: bytes) -> None:
        try:
            with replacing(self.file, MODE) as out:
                out.write(note)
        except OSError as error:
            self.mishap(KEEPS_LAST, error)

    @property
    def how(self) -> str:
        return (
            "Put the log back as it was: the server goes on by itself. Remove the file "
            f"{self.file} only if an administrator has decided to go on with what is there"
        )
