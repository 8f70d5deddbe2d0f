"""Patterns over many requests: who is suspected of theft or evasion. C kernels beside the Cython that owns them."""
