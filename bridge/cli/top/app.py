"""The live display of `framebridge top`, in Textual: asks, shows, sorts, pauses, waits for a daemon that is away.

Thread: one asyncio loop; questions are asked in a worker thread, one at a time, so keys work whatever the daemon
does. Invariant: what is on the screen is one sample, or the last one, dimmed, under the reason why there is no
newer one. bridge.top_page decides what everything looks like as text.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Static

from bridge.errors import FramebridgeError
from bridge.render.page import (
    COLUMNS,
    VIEWS,
    WIDTH,
    Sample,
    Sort,
    cells,
    default_sort,
    gauges,
    headline,
    load,
    sort_rows,
    titles,
)

INTERVALS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

HELP = """\
c p v t s   by class, ingress port, VLAN, talker, stage
< >         sort by the column to the left, to the right
r           reverse the order (a click on a heading does both)
space       pause, and go on
+ -         ask less often, more often
q           quit

core %    of one core                  share     of all busy cycles, in %
cyc/fr    cycles per frame             cyc/wire  per wire frame: a super-
copies/s  sent, floods included                  frame stands for several
sent/s    copies out of the port       induced   % of the cycles, spent on
cyc/sent  cycles of sending one                  copies beyond the first
of time   % of all time, idle too

(other) is what is not listed, (unlearned) frames whose source has no FDB
entry, (departed) talkers whose entry is gone, (uncharged) a rounding.
"""


class Asks(Protocol):
    """Where samples come from; `seconds` is the window they tell of."""

    seconds: float

    def read(self, view: str) -> Sample:
        """Ask; raises FramebridgeError."""


class HelpScreen(ModalScreen[None]):
    """What the keys do and what the columns mean."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,space,h", "dismiss", "close")]

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(HELP, id="help", markup=False)


class TopApp(App[None]):
    """The bill by a view, live."""

    TITLE = "framebridge top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #headline, #gauges, #views { text-wrap: nowrap; }
    #headline { text-style: bold; height: 1; }
    #gauges { height: 2; }
    #trouble { display: none; background: $error; color: $text; }
    #trouble.shown { display: block; }
    #views { color: $text-muted; }
    DataTable { height: 1fr; scrollbar-size-vertical: 1; }
    DataTable.stale { text-opacity: 40%; }
    HelpScreen { align: center middle; }
    #help { width: 78; height: auto; border: round $primary; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "view('class')", "class", show=False),
        Binding("p", "view('port')", "port", show=False),
        Binding("v", "view('vlan')", "vlan", show=False),
        Binding("t", "view('talker')", "talker", show=False),
        Binding("s", "view('stage')", "stage", show=False),
        Binding("less_than_sign,left", "move_sort(-1)", "sort", key_display="< >"),
        Binding("greater_than_sign,right", "move_sort(1)", "sort right", show=False),
        Binding("r", "reverse", "reverse"),
        Binding("space", "pause", "pause", key_display="space"),
        Binding("plus,equals_sign", "slower(1)", "slower", key_display="+"),
        Binding("minus", "slower(-1)", "faster", key_display="-"),
        Binding("question_mark,h", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Asks, view: str, interval: float) -> None:
        super().__init__()
        self.source = source
        self.view = view
        self.interval = interval
        self.paused = False
        self.sample = Sample(view=view)
        self.sort = default_sort(view)
        self._loads: deque[float | None] = deque(maxlen=WIDTH)
        self._costs: deque[float | None] = deque(maxlen=WIDTH)
        self._wanted = asyncio.Event()  # ask now

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(id="headline", markup=False)
        yield Static(id="trouble", markup=False)
        yield Static(id="gauges", markup=False)
        yield Static(id="views", markup=False)
        yield DataTable(cell_padding=0, cursor_type="row", zebra_stripes=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        self._build_table()
        self._show_views()
        self.run_worker(self._ask_forever(), exit_on_error=True)

    # -- asking

    async def _ask_forever(self) -> None:
        while True:
            self._wanted.clear()
            await self._ask()
            while True:
                try:
                    async with asyncio.timeout(self.interval):
                        await self._wanted.wait()
                except TimeoutError:
                    if self.paused:
                        continue
                break

    async def _ask(self) -> None:
        view = self.view
        try:
            sample, trouble = await asyncio.to_thread(self.source.read, view), ""
        except FramebridgeError as error:
            sample, trouble = None, f"{error}; trying again every {self.interval:g} s"
        if not self.query("#trouble"):  # the display ended while the answer was under way
            return
        if sample is None:
            self._loads.append(None)
            self._costs.append(None)
        self._show_trouble(trouble)
        if sample is None:
            return
        if not self.paused:
            self._loads.append(load(sample.summary))
            self._costs.append(sample.summary.get("cycles_per_frame"))
        if view == self.view:
            self.sample = sample
            self._show_sample()

    # -- showing

    @property
    def table(self) -> DataTable[Text]:
        """The table of the view."""
        return self.query_one(DataTable)

    def _text(self, selector: str, text: str | Text) -> None:
        self.query_one(selector, Static).update(text)

    def _show_trouble(self, text: str) -> None:
        self.query_one("#trouble").set_class(bool(text), "shown")
        self.table.set_class(bool(text), "stale")
        self._text("#trouble", text)
        self._text("#gauges", "\n".join(gauges(self._loads, self._costs)))

    def _show_sample(self) -> None:
        self._text("#headline", headline(self.sample))
        self._text("#gauges", "\n".join(gauges(self._loads, self._costs)))
        self._show_rows()

    def _show_views(self) -> None:
        line = Text()
        for view in VIEWS:
            style = "reverse bold" if view == self.view else ""
            line.append(" ", style).append(view[0], f"{style} underline").append(f"{view[1:]} ", style)
            line.append(" ")
        state = "paused" if self.paused else f"every {self.interval:g} s"
        line.append(state.rjust(WIDTH - len(line.plain)), "bold" if self.paused else "")
        self._text("#views", line)

    def _build_table(self) -> None:
        self.table.clear(columns=True)
        self._show_titles()

    def _show_titles(self) -> None:
        headings = titles(self.view, self.sort)
        if not self.table.columns:
            for column, heading in zip(COLUMNS[self.view], headings, strict=True):
                self.table.add_column(Text(heading), width=column.width + 1)
        else:
            for shown, heading in zip(self.table.ordered_columns, headings, strict=True):
                shown.label = Text(heading)
            self.table.refresh()

    def _show_rows(self) -> None:
        """Write the rows over the ones that are there, so that scrolling and cursor stay."""
        if self.sample.view != self.view:
            return
        rows = sort_rows(self.view, self.sample.rows, self.sort)
        while self.table.row_count > len(rows):
            self.table.remove_row(self.table.ordered_rows[-1].key)
        for place, row in enumerate(rows):
            texts = [Text(text, "dim" if row.get("rest") else "") for text in cells(self.view, row)]
            if place >= self.table.row_count:
                self.table.add_row(*texts)
            else:
                for column, text in enumerate(texts):
                    self.table.update_cell_at(Coordinate(place, column), text)

    # -- keys

    def action_view(self, view: str) -> None:
        """Show by another key."""
        if view == self.view:
            return
        self.view, self.sort = view, default_sort(view)
        self._build_table()
        self._show_views()
        self._wanted.set()

    def action_move_sort(self, step: int) -> None:
        """Sort by a column further on."""
        self._sort_by(Sort((self.sort.column + step) % len(COLUMNS[self.view]), self.sort.descending))

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._sort_by(Sort(self.sort.column, not self.sort.descending))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by a heading that was clicked; turn the order round if it is sorted by that already."""
        is_same = event.column_index == self.sort.column
        self._sort_by(Sort(event.column_index, not self.sort.descending if is_same else True))

    def _sort_by(self, sort: Sort) -> None:
        self.sort = sort
        self._show_titles()
        self._show_rows()

    def action_pause(self) -> None:
        """Stop asking, or go on at once."""
        self.paused = not self.paused
        self._show_views()
        if not self.paused:
            self._wanted.set()

    def action_slower(self, step: int) -> None:
        """Ask less often, or more often."""
        nearest = min(INTERVALS, key=lambda seconds: abs(seconds - self.interval))
        place = min(max(INTERVALS.index(nearest) + step, 0), len(INTERVALS) - 1)
        self.interval = self.source.seconds = INTERVALS[place]
        self._show_views()
        self._wanted.set()

    def action_help(self) -> None:
        """Explain."""
        self.push_screen(HelpScreen())
