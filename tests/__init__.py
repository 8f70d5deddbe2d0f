"""The suite."""

import os

# Several processes of tests share the cores already. The threads of one matrix product would spin and wait for each
# other: to fit a profile took up to ten times as much of the processor. Before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
