"""Stories that need what many kernels of virtual machines lack; see boot.py and `make test-vm`."""

from pathlib import Path

import pytest
from helpers.stories import directory, pytest_runtest_makereport, start

__all__ = ["directory", "pytest_runtest_makereport", "start"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("wide")
