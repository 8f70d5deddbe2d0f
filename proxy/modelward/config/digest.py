"""By what a configuration can be told from another, where it may not be shown."""

import hashlib
import json

from modelward.config.schema import Config


def digest(config: Config) -> str:
    """`sha256:` and hexadecimal digits, over every key with its value."""
    text = json.dumps(config.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
