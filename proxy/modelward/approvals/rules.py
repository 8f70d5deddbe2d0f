"""By which settings it is decided who may propose and approve something, and how many must."""

from modelward.approvals.proposal import Ask
from modelward.config.schema import Config
from modelward.config.settings_files import digest_of


def rules_of(config: Config, ask: Ask) -> str:
    """A digest of them."""
    model = config.models.get(ask.model)
    parts = (config.operators, config.approvals, model.approvals if model is not None else None)
    return digest_of("\n".join(each.model_dump_json() if each is not None else "" for each in parts).encode())
