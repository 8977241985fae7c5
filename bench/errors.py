"""What goes wrong in the harness, told to people in one sentence."""

from __future__ import annotations


class BenchError(Exception):
    """The harness cannot do what was asked; the message says why and what to do."""


class SkippedError(BenchError):
    """A system or a measurement cannot run here; the message says what is missing."""
