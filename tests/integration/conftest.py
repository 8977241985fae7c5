"""What the stories share; see helpers/stories.py. They are slow, but for those marked `smoke`."""

from pathlib import Path

import pytest
from helpers.stories import directory, lan, pytest_runtest_makereport, start

__all__ = ["directory", "lan", "pytest_runtest_makereport", "start"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("slow")
