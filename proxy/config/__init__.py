"""Configuration: keys and defaults (schema), where values come from (sources), and what is wrong with them."""

from proxy.config.address import Address
from proxy.config.arguments import from_arguments
from proxy.config.limit import Limit
from proxy.config.load import load
from proxy.config.schema import Anomaly, Batching, Config, Limits, ModelSettings, Rung

__all__ = [
    "Address",
    "Anomaly",
    "Batching",
    "Config",
    "Limit",
    "Limits",
    "ModelSettings",
    "Rung",
    "from_arguments",
    "load",
]
