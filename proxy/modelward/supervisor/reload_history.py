"""What has become of the reloads of the whole server, as the supervisor tells it.

Workers count the reloads that reach them. A configuration that cannot be read reaches none: only the supervisor knows.
"""

import time
from collections.abc import Sequence

from modelward.admin.operator import ReloadRecord
from modelward.problem import Problem
from modelward.telemetry.snapshot import ReloadSnapshot


class ReloadHistory:
    """asked_by: who asked for the reload that is under way. unread: reloads whose configuration was refused
    before any worker saw it. refused: the last reload, where it was refused. last_change: the last reload that
    changed something.
    """

    def __init__(self) -> None:
        self.asked_by = ""
        self.unread = 0
        self.refused: ReloadRecord | None = None
        self.last_change: ReloadRecord | None = None

    def apply(self, by: str, changed: Sequence[str]) -> None:
        if changed:
            self.last_change = ReloadRecord(time.time(), by, tuple(changed))

    def refuse(self, problems: Sequence[Problem]) -> None:
        self.refused = ReloadRecord(time.time(), self.asked_by, problems=tuple(problems))

    def stats(self) -> ReloadSnapshot:
        return ReloadSnapshot(refused=self.unread, failing=int(self.refused is not None))
