"""Kernels as Python objects, for tests, benchmarks and tools; not part of an installation."""
