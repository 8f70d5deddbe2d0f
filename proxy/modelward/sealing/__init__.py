"""Versions that lie encrypted in the repository."""
