"""Observations: a sample of the requests that have ended, from the workers' rings to who looks at them.

`source` says what is observed, `batch` holds what was seen, `tensors` reads inputs and answers, `observations` reads
the rings and hands batches on.
"""
