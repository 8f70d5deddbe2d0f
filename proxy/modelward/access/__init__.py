"""Who calls, and may they: what happens per credential and per configuration, never per request (access/access.pyx)."""
