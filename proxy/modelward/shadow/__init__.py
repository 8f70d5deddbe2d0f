"""Shadow comparison: what a shadow's answers say about it, from sums of what the data plane compared."""
