"""What the kernels of timers and histograms cost: for tests and tools."""

def measure_record(rounds: int) -> float:
    """Nanoseconds per record of values spread evenly over the octaves of the covered range."""

def measure_add_cancel(rounds: int, span_ns: int) -> float:
    """Nanoseconds per add + cancel of one deadline `span_ns` ahead, among 1024 pending ones, over `rounds` rounds."""
