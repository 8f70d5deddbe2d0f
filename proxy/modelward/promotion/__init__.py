"""Versions that take over from others in steps, watched while they do, and taken back where they do worse."""
