"""`framebridge top`: the live display."""
