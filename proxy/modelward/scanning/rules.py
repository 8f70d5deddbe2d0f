"""Every rule of the scan, by its id."""

from modelward.scanning.rule import Rule
from modelward.scanning.rules_of_files import FILES, PAYLOADS, PROTOBUF
from modelward.scanning.rules_of_graphs import DATA, GRAPH, OPERATORS

RULES: dict[str, Rule] = {**OPERATORS, **DATA, **GRAPH, **PAYLOADS, **PROTOBUF, **FILES}
