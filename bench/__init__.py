"""The benchmark harness: cycles per frame, of framebridge and of everyone else, in one run.

`python -m bench` is its command line. It knows framebridge only as one of the systems under test
(systems/), so it is of use to people who do not run framebridge. docs/benchmarking.md says what is measured
and how.
"""

__version__ = "1"
