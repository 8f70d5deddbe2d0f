"""Where a server keeps what outlives it."""

import os
from pathlib import Path


def state_folder(configured: Path | None) -> Path:
    """As configured, or what the service manager gives, or a hidden folder of the working one."""
    return configured or Path(os.environ.get("STATE_DIRECTORY") or ".modelward")
