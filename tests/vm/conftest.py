"""Stories that need what many kernels of virtual machines lack; see boot.py and `make test-vm`."""

from helpers.stories import directory, pytest_runtest_makereport, start

__all__ = ["directory", "pytest_runtest_makereport", "start"]
