"""The binding of csrc/: the one extension module, and nothing else."""
