"""What a running server can follow of a changed configuration."""

from modelward.config.changes import FIXED, OF_MODELS, OF_RULES
from modelward.config.schema import Config


def test_each_top_level_key_is_in_exactly_one_group() -> None:
    assert sorted([*FIXED, *OF_MODELS, *OF_RULES]) == sorted(Config.model_fields)
