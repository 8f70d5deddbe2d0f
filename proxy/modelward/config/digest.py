"""By what a configuration can be told from another, where it may not be shown."""

import hashlib

from modelward.config.schema import Config


def digest(config: Config) -> str:
    """`sha256:` and hexadecimal digits, over every key with its value."""
    return f"sha256:{hashlib.sha256(config.model_dump_json().encode()).hexdigest()}"
