"""Examples for every section of the configuration: each is a whole file that `modelward check` would accept.

A line `---` ends one and begins another, for keys that exclude each other. A test holds them against the schema, and
every key against them.
"""

from scripts.docs import model_examples, server_examples

EXAMPLES = {**server_examples.EXAMPLES, **model_examples.EXAMPLES}
