"""Micro benchmarks: the code of the data plane over replay ports; see stage.py."""
