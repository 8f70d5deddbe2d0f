"""Limits: for whom they differ, and what servers of a fleet have in common."""
