"""Outputs of answers: read, guarded and made coarser, in place."""
