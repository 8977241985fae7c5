"""Loops, moving addresses, storms, and who may send."""
