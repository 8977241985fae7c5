"""What the methods of the control interface mean: the verbs of `Service`.

Job: check parameters, ask or change the engine, give rows (flat dicts) or raise ControlError with the name of
a varlink error. No sockets here (see bridge.control.server). Thread: control.
Invariants: a method's name, parameters and description are the name, signature and docstring of its verb, and
docs/control-protocol.md is tested against them. Changes of the configuration happen one after the other, and
each is judged as a whole configuration, exactly like a file. Configurations are read and judged in a worker thread, for
one may be long; those of onlookers one at a time, with a rest after each, so that they have at most a part of a core.
Refuses: what bridge.methods refuses; parameters that no file could have; ports and FDB entries that do not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from bridge import __version__
from bridge.account.meter import LAST_MAX
from bridge.account.views import VIEWS
from bridge.config import checks
from bridge.config import document as configs
from bridge.config.bridge import bridge_table
from bridge.config.checks import BadValueError, Check, show
from bridge.config.document import Config
from bridge.config.plan import Action, plan
from bridge.config.port import MODES, PortConfig, parse_port, port_table, update_port
from bridge.control.methods import describe, find_method, invalid, method
from bridge.control.protocol import (
    CONFIG_INVALID,
    EXPECTED_MORE,
    INTERFACE,
    INTERFACE_NOT_FOUND,
    INTERNAL,
    NO_SUCH_ENTRY,
    NO_SUCH_PORT,
    PERMISSION_DENIED,
    REFUSED,
    SERVICE,
    Call,
    Message,
    Row,
)
from bridge.errors import ConfigError, ControlError, FramebridgeError
from bridge.events import Subscription
from bridge.fdb.known import FLUSHABLE
from bridge.mac import format_mac
from bridge.mirror.mirrors import parse_mirror
from bridge.systemd.notify import Notifier

if TYPE_CHECKING:
    from bridge.engine.engine import Engine

logger = logging.getLogger(__package__)

# What an FDB entry may be asked to be; every filter given has to fit.
FDB_FILTERS = {"port": "string", "vlan": "int", "mac": "string", "state": "string", "older": "int"}
ROWS_MAX = 100_000  # of a view of the bill
REST = 4.0  # of onlookers between two costly calls, in times of what the first one took
FORWARD_DELAY = (
    15  # seconds; IEEE 802.1Q-2022 table 13-5: an entry may be so silent after a change of the topology
)


class Service:
    """The methods over one engine. `config_path` is the file that a reload reads again."""

    def __init__(self, engine: Engine, config_path: str = "", notifier: Notifier | None = None) -> None:
        self._engine = engine
        self._config_path = config_path
        self._notifier = notifier or Notifier()
        self._changing = asyncio.Lock()
        self._onlooking = asyncio.Lock()
        self._rested = 0.0  # time of the loop

    async def call(self, call: Call, *, may_change: bool) -> Iterable[Row] | Message | Subscription:
        """Answer a call with rows, other parameters, or a stream of events. Raises ControlError only."""
        known = find_method(call.method)
        if known.changes and not may_change:
            raise ControlError("you may look, but not change anything", PERMISSION_DENIED)
        if known.verb is Service.monitor and (call.oneway or not call.more):
            raise ControlError("a stream of replies needs 'more': true", EXPECTED_MORE)
        parameters = known.checked(call.parameters)
        turn = self._turn() if known.is_costly and not may_change else contextlib.nullcontext()
        try:
            async with turn:
                answer: Iterable[Row] | Message | Subscription = await known.verb(self, **parameters)
        except ControlError:
            raise
        except ConfigError as error:
            problems = [{"path": p.path, "message": p.message, "line": p.line} for p in error.problems]
            raise ControlError(
                str(error), CONFIG_INVALID, {"source": error.source, "problems": problems}
            ) from error
        except FramebridgeError as error:
            raise ControlError(str(error), REFUSED) from error
        except Exception as error:
            logger.exception("%s failed", call.method)
            raise ControlError(
                f"{type(error).__name__}: {error} (the daemon's log has more)", INTERNAL
            ) from error
        return answer

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Keep the costly calls of onlookers apart."""
        now = asyncio.get_running_loop().time
        async with self._onlooking:
            await asyncio.sleep(self._rested - now())
            began = now()
            try:
                yield
            finally:
                self._rested = now() + REST * (now() - began)

    @method(SERVICE)
    async def get_info(self) -> Message:
        """Say who answers, as every varlink service does."""
        who = {"vendor": "framebridge", "product": "framebridge", "version": __version__, "url": ""}
        return {**who, "interfaces": [SERVICE, INTERFACE]}

    @method(SERVICE)
    async def get_interface_description(self, interface: str) -> Message:
        """Describe an interface in varlink's definition language."""
        if interface != INTERFACE:
            raise ControlError(f"no interface {interface!r}", INTERFACE_NOT_FOUND, {"interface": interface})
        return {"description": describe()}

    @method()
    async def version(self) -> list[Row]:
        """Version, bridge name and process of the daemon."""
        return [{"version": __version__, "bridge": self._engine.config.bridge.name, "pid": os.getpid()}]

    @method()
    async def bridge_show(self) -> list[Row]:
        """Give the settings of the bridge as a whole that are in force: the `[bridge]` table."""
        bridge = self._engine.config.bridge
        shown = {"control_socket": bridge.socket_path, "address": format_mac(self._engine.own_address)}
        return [{"bridge": bridge.name, **bridge_table(bridge), **shown}]

    @method()
    async def port_show(self, port: str | None = None) -> list[Row]:
        """One row per port: its configuration in force, its state, its totals."""
        return self._engine.rows.ports(self._known(port))

    @method(changes=True)
    async def port_add(self, port: Message) -> list[Row]:
        """Add a port, written like a [[port]] table of the file. Rows: what was done."""
        return await self._change(lambda config: configs.with_port(config, parse_port(port)))

    @method(changes=True)
    async def port_del(self, port: str) -> list[Row]:
        """Remove a port and its FDB entries. Rows: what was done."""
        return await self._change(lambda config: configs.without_port(config, self._named(port).name))

    @method(changes=True)
    async def port_set(self, port: str, changes: Message) -> list[Row]:
        """Change keys of a port's [[port]] table; null is the default of a key. Rows: what was done."""

        def changed(config: Config) -> Config:
            before = self._named(port)
            return configs.replace_port(config, update_port(before, merge_vlan(before, changes)))

        return await self._change(changed)

    @method(changes=True)
    async def port_unblock(self, port: str) -> list[Row]:
        """Let a port that was blocked because of a loop or a moving address forward again. No rows."""
        if not self._engine.unblock(self._named(port).name):
            raise ControlError(f"port {port!r} is not blocked", REFUSED)
        return []

    @method()
    async def port_storm(self, port: str | None = None) -> list[Row]:
        """One row per limit of storm control: port and flood class, its state, what was spent and dropped."""
        return self._engine.rows.storms(self._known(port))

    @method()
    async def port_audit(self, port: str | None = None) -> list[Row]:
        """One row per finding: what about the device of a port loses frames or costs cycles, and what to do."""
        name = self._known(port)
        found = await self._engine.audit(self._engine.config)
        return [finding.row for finding in found if name in (None, finding.port)]

    @method()
    async def port_guard(self, port: str | None = None) -> list[Row]:
        """One row per port that is locked or guarded: who may send, from which addresses, how often others tried."""
        return self._engine.rows.guards(self._known(port))

    @method()
    async def vlan_show(self) -> list[Row]:
        """One row per VLAN: the ports that carry it, tagged and untagged."""
        return self._engine.rows.vlans()

    @method()
    async def mirror_show(self) -> list[Row]:
        """One row per mirror: what it copies, where to, its state, what became of the copies."""
        return self._engine.rows.mirrors()

    @method(changes=True)
    async def mirror_add(self, mirror: Message) -> list[Row]:
        """Add a mirror, written like a [[mirror]] table of the file. Rows: what was done."""
        return await self._change(lambda config: configs.with_mirror(config, parse_mirror(mirror)))

    @method(changes=True)
    async def mirror_del(self, mirror: str) -> list[Row]:
        """Remove a mirror; its file is ended and stays. Rows: what was done."""
        return await self._change(lambda config: configs.without_mirror(config, mirror))

    @method(options=FDB_FILTERS)
    async def fdb_show(self, **filters: Any) -> Iterable[Row]:
        """One row per FDB entry that fits every parameter given; `older`: silent for so many seconds or more."""
        return self._engine.rows.fdb_stream(**self._filters(_state, **filters))

    @method(changes=True)
    async def fdb_add(self, mac: str, vlan: int, port: str | None = None, kind: str = "static") -> list[Row]:
        """Add or replace an FDB entry: static, sticky, drop or dynamic. No rows."""
        _checked("kind", _entry_kind, kind)
        if (kind == "drop" and port is not None) or (kind in ("static", "sticky") and port is None):
            raise invalid("port", f"a {kind} entry {'has no' if port else 'needs a'} port")
        await self._engine.fdb_add(_vid(vlan), _station(mac), self._known(port) or "", kind)
        return []

    @method(changes=True)
    async def fdb_del(self, mac: str, vlan: int) -> list[Row]:
        """Remove one FDB entry of any kind. No rows."""
        if not await self._engine.fdb_delete(_vid(vlan), _station(mac)):
            raise ControlError(
                f"no FDB entry {mac} in VLAN {vlan}", NO_SUCH_ENTRY, {"mac": mac, "vlan": vlan}
            )
        return []

    @method(changes=True, options=FDB_FILTERS)
    async def fdb_flush(self, **filters: Any) -> list[Row]:
        """Forget dynamic and sticky FDB entries that fit every parameter given. One row: how many."""
        return [{"flushed": await self._engine.fdb_flush(**self._filters(_flushable, **filters))}]

    @method(changes=True)
    async def fdb_age(
        self, seconds: int = FORWARD_DELAY, port: str | None = None, vlan: int | None = None
    ) -> list[Row]:
        """Forget dynamic and sticky FDB entries silent for so long: 802.1Q's fast ageing. One row: how many."""
        _checked("seconds", _age, seconds)
        return [
            {"aged": await self._engine.fdb_flush(**self._filters(_flushable, port, vlan, older=seconds))}
        ]

    @method()
    async def stats_show(self, port: str | None = None) -> list[Row]:
        """One row per port with every counter; without `port`, a last row with the totals."""
        return self._engine.rows.stats(self._known(port))

    @method()
    async def drops_show(self, all: bool = False) -> list[Row]:  # noqa: A002
        """One row per port, direction and drop reason that has a count; `all`: every reason."""
        return self._engine.rows.drops(all)

    @method()
    async def cost_show(
        self, by: str = "stage", last: int | None = None, top: int | None = None, since: str | None = None
    ) -> list[Row]:
        """One row per stage, port, vlan, class or talker, and rows for the rest; they add up to the busy cycles."""
        _checked("by", _view, by)
        return self._engine.cost.show_rows(by, *self._span(last, since), _top(top))

    @method()
    async def cost_summary(self, last: int | None = None, since: str | None = None) -> list[Row]:
        """One row: where the time of the data thread went, and what the kernel says of it."""
        return self._engine.cost.summary_rows(*self._span(last, since))

    @method()
    async def cost_savings(
        self, last: int | None = None, top: int | None = None, since: str | None = None
    ) -> list[Row]:
        """One row per measure that would save cycles, the best first: estimates, which do not add up."""
        return self._engine.cost.saving_rows(self._engine.config.ports, *self._span(last, since), _top(top))

    @method()
    async def cost_slow(self) -> list[Row]:
        """One row per batch of the slowest since the last clearing, slowest first."""
        return self._engine.cost.slow_rows()

    @method()
    async def cost_histogram(self, name: str | None = None, since: str | None = None) -> list[Row]:
        """One row per bucket of each histogram, or of one."""
        if name is not None:
            _checked("name", checks.choice(*self._engine.cost.histograms), name)
        return self._engine.cost.histogram_rows(name, self._span(None, since)[1])

    @method()
    async def cost_budgets(self) -> list[Row]:
        """One row per budget: what it limits, its state, what was spent and dropped."""
        return self._engine.rows.budgets()

    @method(changes=True)
    async def cost_clear(self, name: str | None = None) -> list[Row]:
        """Count cycles from zero again or, with a name, only keep this moment under it. No rows."""
        self._engine.cost.clear("" if name is None else _checked("name", checks.name, name))
        return []

    @method(is_costly=True)
    async def check_plan(self, toml: str, source: str = "") -> list[Row]:
        """Validate the text of a configuration file. Rows: what a reload with it would do."""
        before = self._engine.config
        return await asyncio.to_thread(lambda: action_rows(plan(before, configs.parse(toml, source))))

    @method(is_costly=True)
    async def check_audit(self, toml: str, source: str = "") -> list[Row]:
        """Audit the ports of a configuration file, as the daemon sees their devices. Rows as for PortAudit."""
        config = await asyncio.to_thread(configs.parse, toml, source)
        return [finding.row for finding in await self._engine.audit(config)]

    @method(changes=True)
    async def reload(self, toml: str | None = None, source: str = "") -> list[Row]:
        """Put a configuration in force: this text or, without it, the daemon's file. Rows: what was done."""

        def read(_: Config) -> Config:
            if toml is not None:
                return configs.parse(toml, source)
            if not self._config_path:
                raise ControlError("this daemon was not started from a file: name one", REFUSED)
            return configs.load(self._config_path)

        self._notifier.reloading()
        try:
            return await self._change(read)
        finally:
            self._notifier.ready(status_line(self._engine))

    @method()
    async def monitor(self) -> Subscription:
        """Stream events, one row each, until either side hangs up. A first reply without rows: it began."""
        return self._engine.subscribe()

    async def _change(self, edit: Callable[[Config], Config]) -> list[Row]:
        async with self._changing:  # what is edited is what is in force, and nothing comes between
            actions = await self._engine.apply(await asyncio.to_thread(edit, self._engine.config))
        for action in actions:
            logger.info("%s", action)
        return action_rows(actions)

    def _named(self, name: str) -> PortConfig:
        ports = {port.name: port for port in self._engine.config.ports}
        if name not in ports:
            known = ", ".join(ports) or "none"
            raise ControlError(f"no port {name!r}; there are: {known}", NO_SUCH_PORT, {"port": name})
        return ports[name]

    def _filters(
        self,
        states: Check,
        port: str | None = None,
        vlan: int | None = None,
        mac: str | None = None,
        state: str | None = None,
        older: int | None = None,
    ) -> dict[str, Any]:
        """Check FDB_FILTERS; which states there are depends on the question."""
        return {
            "state": None if state is None else _checked("state", states, state),
            "older": None if older is None else _checked("older", _age, older),
            "port": self._known(port),
            "vlan": _vid(vlan),
            "mac": _station(mac),
        }

    def _span(self, last: int | None, since: str | None) -> tuple[int | None, str]:
        """Check which window of the bill is meant."""
        if last is not None and since is not None:
            raise invalid("since", "give either this or 'last'")
        if since is not None and since not in self._engine.cost.baselines:
            known = ", ".join(self._engine.cost.baselines) or "none; make one with 'cost clear NAME'"
            raise invalid("since", f"no baseline {show(since)}; there are: {known}")
        return None if last is None else _checked("last", _seconds, last), since or ""

    def _known(self, name: str | None) -> str | None:
        return None if name is None else self._named(name).name


def action_rows(actions: Iterable[Action]) -> list[Row]:
    """Render actions as rows; `text` is the readable line."""
    return [{"action": action.kind, "subject": action.subject, "text": str(action)} for action in actions]


def status_line(engine: Engine) -> str:
    """One line on the state of the bridge, for `systemctl status`."""
    rows = engine.rows.ports()
    return f"{engine.config.bridge.name}: {sum(row['state'] == 'up' for row in rows)} of {len(rows)} ports up"


def merge_vlan(port: PortConfig, changes: Message) -> Message:
    """Let a change of `vlan` keep what it does not name: `native` alone, or the TPID of a port that moves."""
    change, kept = changes.get("vlan"), port_table(port)["vlan"]
    if not isinstance(change, dict) or not isinstance(kept, dict):
        return changes
    if change.keys() & set(MODES):
        keys = ("native", "native_tagged", "map", "tpid") if "trunk" in change else ("tpid",)
        kept = {key: value for key, value in kept.items() if key in keys}
    vlan = {key: value for key, value in {**kept, **change}.items() if value is not None}
    return {**changes, "vlan": vlan}


_view = checks.choice(*VIEWS)
_seconds = checks.integer(1, LAST_MAX, "seconds")
_rows = checks.integer(1, ROWS_MAX, "a number of rows")


def _top(rows: int | None) -> int | None:
    return None if rows is None else _checked("top", _rows, rows)


_state = checks.choice("dynamic", "sticky", "held", "static", "drop")
_flushable = checks.choice(*FLUSHABLE)
_age = checks.integer(0, 1_000_000, "seconds")
_entry_kind = checks.choice("static", "sticky", "drop", "dynamic")


def _vid(vlan: int | None) -> Any:
    return None if vlan is None else _checked("vlan", checks.vid, vlan)


def _station(mac: str | None) -> Any:
    return None if mac is None else _checked("mac", checks.station, mac)


def _checked(parameter: str, check: Check, value: object) -> Any:
    """Apply a check of the configuration file to a parameter."""
    try:
        return check(value)
    except BadValueError as error:
        raise invalid(parameter, str(error)) from None
