"""`framebridge lab` says what failed, a line each."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.lab import lab, measure


def result(**changes: Any) -> dict[str, Any]:
    """What a lab measured in which everything was well, with some changes (`ping__full_size={...}`)."""
    sound: dict[str, Any] = {
        "ping": {name: {"sent": 20, "received": 20, "rtt_mean_ms": 0.1} for name in measure.PINGS},
        "tcp": dict.fromkeys(measure.STREAMS, 1.0),
        "conservation": {"holds": True, "received_and_copied": 100, "sent_and_dropped": 100},
    }
    for key, value in changes.items():
        place, _, name = key.partition("__")
        sound[place][name] = value
    return sound


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        (
            {"ping__external_to_guest": {"sent": 20, "received": 18, "rtt_mean_ms": 0.1}},
            ["ping external -> guest: 18 replies to 20 requests"],
        ),
        (
            {
                "ping__full_size": {"sent": 5, "received": 0, "rtt_mean_ms": None},
                "tcp__guest_to_external_gbps": 0.0,
                "conservation__holds": False,
                "conservation__sent_and_dropped": 99,
            },
            [
                "ping 1500 bytes: 0 replies to 5 requests",
                "TCP guest -> external: nothing arrived",
                "conservation: 100 frames received and copied, 99 sent and dropped, or a port that does not balance",
            ],
        ),
    ],
)
def test_every_failed_check_is_a_line(
    changes: dict[str, Any],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(lab, "run", lambda **_options: result(**changes))

    status = lab.main(["-j"])

    assert status == bool(lines)
    assert capsys.readouterr().err.splitlines() == [f"framebridge lab: failed: {line}" for line in lines]
