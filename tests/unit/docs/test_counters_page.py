"""docs/counters.md says what csrc/count/counters.h declares."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_up_to_date():
    generator = runpy.run_path(str(DOCS / "counters.py"))
    assert (DOCS / "counters.md").read_text() == generator["page"](), "run `make docs`"
