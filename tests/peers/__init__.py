"""Other servers of the protocol, real ones, for Modelward to stand in front of; one that is not installed is Absent.

All serve the same models: `add` (x FP32 [-1, 4] -> y = x + 1), `slow` (the same after SLOW_SECONDS) and `repeat`
(x INT32 [1, 1], on a ModelStreamInfer answered by 0, 1, ... x - 1, each as a y INT32 [1, 1]). KServe has `add` and two
of its own.
"""
