"""What the stories share; see helpers/stories.py."""

from helpers.stories import directory, lan, pytest_runtest_makereport, start

__all__ = ["directory", "lan", "pytest_runtest_makereport", "start"]
