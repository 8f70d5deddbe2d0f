"""One request: its structs, the order of its stages, and what becomes of it."""
