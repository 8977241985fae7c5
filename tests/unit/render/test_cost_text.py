"""The bill as a person sees it."""

from __future__ import annotations

import pytest
from helpers.clock import ManualClock
from helpers.fake_bill import HZ, FakeMeter
from hypothesis import given
from hypothesis import strategies as st

from bridge.account import views as cost_views
from bridge.account.window import Egress
from bridge.cli.cost import COST_HISTOGRAM
from bridge.config.port import PortConfig
from bridge.core._core import HISTOGRAMS, SlowBatch
from bridge.render import bill as cost_text
from bridge.render.bill import ASCII_BLOCKS, BLOCKS, bar, choose_blocks, money, show_text, si

MAC = 0x020000000001


@pytest.fixture
def meter() -> FakeMeter:
    """Ten seconds in which half of a core went into known unicast and broadcasts."""
    clock = ManualClock()
    meter = FakeMeter(clock)
    core = meter.core
    core.spend(
        0, 10, "known_unicast", MAC, direct=3 * HZ, frames=3_000_000, segments=12_000_000, copies=3_000_000
    )
    core.spend(
        1,
        20,
        "broadcast",
        MAC,
        stage="flood",
        direct=HZ // 2,
        induced=3 * HZ // 2,
        frames=1000,
        segments=1000,
        copies=8000,
    )
    core.stages["blocked"] = 5 * HZ
    meter.sent = {"guests": Egress(8000, HZ), "uplink": Egress(3_000_000, 2 * HZ)}
    clock.advance(10)
    meter.sample()
    return meter


def lines(text: str) -> dict[str, list[str]]:
    """Words of each line after its first word."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}


def test_classes_with_their_shares_and_a_bar_of_two_parts(meter: FakeMeter) -> None:
    text = show_text(meter.show_rows("class"), "class")
    found = lines(text)
    assert found["known_unicast"] == [
        "3.00G",
        "60.0%",
        "███████",
        "3.00M",
        "12.0M",
        "1.00k",
        "250",
        "3.00G",
        "0",
        "0.300",
    ]
    assert found["broadcast"] == [
        "2.00G",
        "40.0%",
        "█▒▒▒▒",
        "1.00k",
        "1.00k",
        "2.00M",
        "2.00M",
        "500M",
        "1.50G",
        "0.200",
    ]
    assert found["busy"] == ["5.00G", "100.0%", "3.00M", "12.0M", "1.67k", "417", "3.50G", "1.50G", "0.500"]
    assert text.endswith("5.00G busy cycles in 10.0 s, 0.500 of a core   █ direct  ▒ induced by copies")


def test_stages_in_their_order_and_what_is_not_busy_below(meter: FakeMeter) -> None:
    text = show_text(meter.show_rows("stage"), "stage")
    found = lines(text)
    assert [*found][1:] == [
        *("rx", "admit", "learn", "lookup", "edit", "flood", "tx", "account", "busy"),
        *("blocked", "polling", "control", "5.00G"),
    ]
    assert found["flood"] == ["2.00G", "40.0%", "█████", "20.0%", "666", "167", "0.200"]
    assert found["busy"][:3] == ["5.00G", "100.0%", "50.0%"]
    assert found["blocked"] == ["5.00G", "50.0%", "-"]


def test_talkers_have_address_vlan_and_port(meter: FakeMeter) -> None:
    text = show_text(meter.show_rows("talker", top=1), "talker")
    assert "02:00:00:00:00:01  10    guests   3.00G   60.0%" in text
    assert lines(text)["(other)"][:2] == ["2.00G", "40.0%"]


def test_ports_have_the_cost_of_a_copy(meter: FakeMeter) -> None:
    heading, guests, uplink, *_ = show_text(meter.show_rows("port"), "port").splitlines()
    place = heading.index("cyc/copy")
    assert guests[place:].split()[0] == "125k"
    assert uplink[place:].split()[0] == "667"


def test_a_price_adds_a_column(meter: FakeMeter) -> None:
    meter.price = cost_views.Price(0.04, "EUR")
    text = show_text(meter.show_rows("class"), "class")
    assert text.splitlines()[0].endswith("EUR/month")
    assert lines(text)["broadcast"][-1] == "5.84"  # 0.2 cores, 730 hours


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("by", cost_views.VIEWS)
def test_tables_fit_the_terminal(meter: FakeMeter, by: str, width: int) -> None:
    text = show_text(meter.show_rows(by), by, BLOCKS, width)
    assert max(map(len, text.splitlines()[:-1])) <= width
    assert "cycles" in text.splitlines()[0]
    assert "cores" in text.splitlines()[0]


def test_the_summary_says_where_the_time_went(meter: FakeMeter) -> None:
    (row,) = meter.summary_rows()
    row |= {
        "cpu_seconds": 4.9,
        "accounted_seconds": 5.0,
        "accounted_per_cpu": 1.0204,
        "preempted_seconds": 0.1,
    }
    text = cost_text.summary_text([row])
    assert lines(text)["busy"] == ["5.00G", "cycles", "50.0%", "0.500", "of", "a", "core"]
    assert lines(text)["blocked"] == ["5.00G", "cycles", "50.0%"]
    assert "CPU clock  4.900 s; accounted for 5.000 s, 102.0% of it" in text
    assert "preempted  0.100 s; stolen" in text
    assert "jumps" not in text
    row |= {"clock_jumps": 2, "cpu_seconds": None, "accounted_per_cpu": None, "preempted_seconds": None}
    text = cost_text.summary_text([row])
    assert "jumped 2 times" in text
    assert "CPU clock  not reported by this kernel" in text


def test_slow_batches_tell_where_their_time_went(meter: FakeMeter) -> None:
    meter.core.slow = [
        SlowBatch(0, 0, 64, 5_000_000, {"rx": 1_000_000, "tx": 3_900_000, "edit": 100_000, "flood": 0})
    ]
    text = cost_text.slow_text(meter.slow_rows())
    assert text.splitlines()[1].split()[1:] == [
        "guests",
        "64",
        "5.00M",
        "5.00k",
        "tx",
        "78%,",
        "rx",
        "20%,",
        "edit",
        "2%",
    ]


def test_histograms_have_a_bar_for_each_power_of_two(meter: FakeMeter) -> None:
    meter.core.counts = [0, 0, 8, 4, 2]
    text = cost_text.histogram_text(meter.histogram_rows())
    assert text.splitlines() == [
        "batch_frames  count  share",
        "      2 .. 3      8  57.1%  " + "█" * 40,
        "      4 .. 7      4  28.6%  " + "█" * 20,
        "     8 .. 15      2  14.3%  " + "█" * 10,
    ]


def test_savings_are_sentences_with_numbers(meter: FakeMeter) -> None:
    ports = [
        PortConfig("guests", "memory", pvid=20),
        PortConfig("uplink", "memory", mode="trunk", vids=(20,)),
    ]
    text = cost_text.savings_text(meter.saving_rows(ports))
    assert "30.0%" in text.splitlines()[1]
    assert text.splitlines()[1].endswith("let 02:00:00:00:00:01 (VLAN 10, port guests) send half as much")
    assert "suppress broadcasts other than ARP in VLAN 20" in text
    assert "do not add up" in text.splitlines()[-1]


# -- numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.25, "0.2"),
        (7, "7"),
        (12.34, "12.3"),
        (999, "999"),
        (999.4, "999"),
        (1000, "1.00k"),
        (9994, "9.99k"),
        (9996, "10.0k"),
        (123_456, "123k"),
        (999_600, "1.00M"),
        (1_234_567_890, "1.23G"),
        (5e18, "5000P"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert si(value) == text


@given(st.floats(0, 1e15))
def test_a_number_is_short_and_nearly_right(value: float) -> None:
    text = si(value)
    scale = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}.get(text[-1], 1.0)
    assert len(text) <= 5
    assert float(text.rstrip("kMGTP")) * scale == pytest.approx(value, rel=0.006, abs=0.06)


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "-"), (0.0, "0.00"), (12.345, "12.35"), (0.0312, "0.031"), (1e-6, "0.00")]
)
def test_money(amount: float | None, text: str) -> None:
    assert money(amount) == text


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 80))
def test_the_parts_of_a_bar_never_exceed_the_whole(direct: float, part: float, width: int) -> None:
    drawn = bar(direct, (1 - direct) * part, width, BLOCKS)
    assert len(drawn) <= width
    assert drawn == BLOCKS[0] * drawn.count(BLOCKS[0]) + BLOCKS[1] * drawn.count(BLOCKS[1])


@pytest.mark.parametrize(
    ("encoding", "blocks"),
    [("utf-8", BLOCKS), ("ascii", ASCII_BLOCKS), (None, ASCII_BLOCKS), ("no-such", ASCII_BLOCKS)],
)
def test_bars_are_of_letters_the_terminal_has(encoding: str | None, blocks: tuple[str, str]) -> None:
    assert choose_blocks(encoding) == blocks


def test_the_histograms_of_the_command_line_are_the_cores() -> None:
    assert tuple(COST_HISTOGRAM.flags) == tuple(name for name, _ in HISTOGRAMS)
