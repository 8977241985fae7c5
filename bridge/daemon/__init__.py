"""The process: start, signals, end."""
