"""The benchmark of large bridges, on a small one: every figure is there, targets are judged, all is gone."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.lab import net
from bench.scale import run
from bench.scale.figures import FIGURES
from bench.scale.place import Size, Timing

SMALL = Size(ports=14, trunks=4, vlans=200, entries=1000)


@pytest.mark.root
def test_a_small_bridge_gives_every_figure_and_loses_nothing() -> None:
    before = net.leftovers()
    report = run.measure(SMALL, (), 1, 1.0)
    assert net.leftovers() == before
    found = {row["figure"]: row["median"] for row in report["figures"]}
    assert found.keys() == FIGURES.keys()
    assert found["fill_entries"] == SMALL.entries
    assert found["learn_missing"] == found["move_wrong"] == 0
    assert found["move_rate"] > 0
    text = run.text(report)
    assert text.startswith("14 ports, 4 of them trunks of 200 VLANs; ")
    assert len(text.splitlines()) == 1 + len(FIGURES)


def test_a_target_is_missed_kept_or_out_of_the_generators_reach() -> None:
    def judge(rate: float, offered: float) -> str:
        samples = {"move_rate": [Timing(rate, 0.0)], "move_offered": [Timing(offered, 0.0)]}
        return run._line(run._row("move_rate", samples)).split()[6]

    assert judge(50_001, 60_000) == "kept"
    assert judge(40_000, 60_000) == "MISSED"
    assert judge(40_000, 45_000) == "generator"


def test_an_unknown_measurement_is_refused() -> None:
    with pytest.raises(BenchError, match="no measurement nonsense; there are start, reload"):
        run.choose(["nonsense"], 1.0)
