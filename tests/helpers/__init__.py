"""Builders and factories shared by all test directories; imported as `helpers.*` (see conftest)."""
