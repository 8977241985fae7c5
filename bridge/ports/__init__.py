"""Configured ports, and how they are attached to devices."""
