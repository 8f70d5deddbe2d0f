"""Every metric and every label that Modelward exposes, and nothing else."""
