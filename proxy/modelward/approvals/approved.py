"""The configuration that was approved last, as it is kept in the state folder."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from modelward.approvals.objections import file_of
from modelward.config.settings_files import SettingsFiles
from modelward.records import Struct

MOST_REPLACED = 1000
"""Files that were followed, of which it is kept when others took their places."""


class Approved(Struct, frozen=True, kw_only=True):
    """digest: of all files. texts: by name, a character for each byte. binding: other files need approvals.

    replaced: when other files took the place of these, by name and digest, in seconds since 1970. dropped: the latest
    time of those that are not kept any more."""

    digest: str
    binding: bool = True
    replaced: Mapping[str, float] = {}
    dropped: float = 0.0
    texts: Mapping[str, str] = {}

    @property
    def data(self) -> dict[str, bytes]:
        return {name: text.encode("latin-1") for name, text in self.texts.items()}

    def replaced_at(self, name: str, data: bytes) -> float:
        """The last time. A file that is not known was replaced with the last one that is not kept, if ever."""
        return self.replaced.get(file_of(name, data), self.dropped)

    def by(self, files: SettingsFiles, now: float, *, binding: bool) -> Approved:
        """What is kept once these files are followed."""
        gone = {file_of(name, data): now for name, data in self.data.items() if files.texts.get(name) != data}
        replaced = {key: at for key, at in self.replaced.items() if key not in gone} | gone
        extra = [*replaced][: max(0, len(replaced) - MOST_REPLACED)]
        dropped = max([self.dropped, *(replaced.pop(key) for key in extra)])
        return structs.replace(Approved.of(files, binding=binding), replaced=replaced, dropped=dropped)

    @classmethod
    def of(cls, files: SettingsFiles, *, binding: bool) -> Approved:
        texts = {name: data.decode("latin-1") for name, data in files.texts.items()}
        return cls(digest=files.digest, binding=binding, texts=texts)
