"""Servers with the same model, loaded in alternating rounds and compared by the CPU time that each answer costs."""
