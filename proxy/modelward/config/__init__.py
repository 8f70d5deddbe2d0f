"""Configuration: keys and defaults (schema), where values come from (sources), and what is wrong with them."""

from modelward.config.address import Address
from modelward.config.arguments import from_arguments
from modelward.config.limits import Limits
from modelward.config.load import load
from modelward.config.model import Anomaly, Batching, Fallback, ModelSettings
from modelward.config.rate_limit import Limit
from modelward.config.schema import Config

__all__ = [
    "Address",
    "Anomaly",
    "Batching",
    "Config",
    "Fallback",
    "Limit",
    "Limits",
    "ModelSettings",
    "from_arguments",
    "load",
]
