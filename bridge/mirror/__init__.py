"""Copies of frames, to a port or to a pcapng file."""
