"""The laboratory: topology, traffic, accounting, measurements, and the run that interleaves them."""
