"""Changes of a configuration as values: a port or a mirror more, less, or in place of another. Pure.

Raises ConfigError for what no file could say; key paths then say names where a file would have indexes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from bridge.config import group as groups
from bridge.config import mirror as mirrors
from bridge.config.checks import is_beneath
from bridge.config.group import GroupConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.port import PortConfig
from bridge.config.table import did_you_mean, show
from bridge.config.whole import Config, validated
from bridge.errors import ConfigError, Problem

Named = TypeVar("Named", PortConfig, MirrorConfig)


def with_port(config: Config, port: PortConfig) -> Config:
    """Return a configuration that also has this port; its name and device must be new."""
    return validated(replace(config, ports=(*config.ports, port)))


def replace_port(config: Config, port: PortConfig) -> Config:
    """Return a configuration where this port takes the place of the one with its name."""
    others = _all_but("port", config.ports, port.name)
    return validated(replace(config, ports=(*others, port)))


def without_port(config: Config, name: str) -> Config:
    """Return a configuration without this port and without the static entries, budgets and mirrors on it."""
    entries = tuple(entry for entry in config.entries if entry.port != name)
    budgets = tuple(budget for budget in config.budgets if budget.port != name)
    ports = _all_but("port", config.ports, name)
    kept = mirrors.without_port(config.mirrors, name)
    of_groups = groups.without_port(config.groups, name)
    return validated(
        replace(config, ports=ports, entries=entries, budgets=budgets, mirrors=kept, groups=of_groups)
    )


def with_mirror(config: Config, mirror: MirrorConfig) -> Config:
    """Return a configuration that also has this mirror; its name must be new."""
    return validated(replace(config, mirrors=(*config.mirrors, mirror)))


def without_mirror(config: Config, name: str) -> Config:
    """Return a configuration without this mirror."""
    return validated(replace(config, mirrors=_all_but("mirror", config.mirrors, name)))


def with_group_port(config: Config, wanted: GroupConfig) -> Config:
    """Return a configuration where the ports of a group by hand are more by these; `only` holds for all of them."""
    same = [one for one in config.groups if (one.vid, one.group) == (wanted.vid, wanted.group)]
    ports = sorted({*wanted.ports, *(port for one in same for port in one.ports)})
    group = replace(wanted, ports=tuple(ports), only=wanted.only or any(one.only for one in same))
    others = tuple(one for one in config.groups if one not in same)
    return validated(replace(config, groups=(*others, group)))


def without_group_port(config: Config, vid: int, address: str, port: str | None) -> Config:
    """Return a configuration where a group by hand has one port less, or (None) is none."""
    found = next((one for one in config.groups if (one.vid, one.group) == (vid, address)), None)
    if found is None or (port is not None and port not in found.ports):
        where = f"port {port!r} of {address}" if found else address
        raise ConfigError(
            [Problem(f"group.{address}", f"{where} in VLAN {vid} is not set by hand; see mdb show")]
        )
    others = tuple(one for one in config.groups if one is not found)
    left = tuple(one for one in found.ports if one != port)
    kept = (replace(found, ports=left),) if port is not None and left else ()
    return validated(replace(config, groups=(*others, *kept)))


def refuse_new_places(before: Config, after: Config, source: str = "") -> None:
    """Raise ConfigError if a configuration names files, other than beneath `mirror_dir`, that are not named already.

    What comes by the control socket is held to this: who may configure the bridge may not write where root may.
    """
    problems = [
        Problem(
            f"bridge.{key}",
            f"only the configuration file may name another place; put {was or 'nothing'} back",
        )
        for key in ("mirror_dir", "fdb_file")
        if (was := getattr(before.bridge, key)) != getattr(after.bridge, key)
    ]
    known = {(mirror.name, mirror.file) for mirror in before.mirrors}
    if after.pair.secret_file not in ("", before.pair.secret_file):
        message = "only the configuration file may name a secret; write it there, and reload that"
        problems.append(Problem("pair.secret_file", message))
    problems += [
        Problem(
            f"mirror.{mirror.name}.file",
            f"{show(mirror.file)} is not beneath {before.bridge.mirror_dir} (mirror_dir), and only the configuration "
            f"file may name other places; write a name like '{mirror.name}.pcapng'",
        )
        for mirror in after.mirrors
        if mirror.file and (mirror.name, mirror.file) not in known
        if not is_beneath(mirror.file, before.bridge.mirror_dir)
    ]
    if problems:
        raise ConfigError(problems, source)


def _all_but(what: str, values: tuple[Named, ...], name: str) -> tuple[Named, ...]:
    """Leave out the one of that name, which there must be."""
    others = tuple(value for value in values if value.name != name)
    if len(others) == len(values):
        hint = did_you_mean(name, [value.name for value in values])
        raise ConfigError([Problem("", f"there is no {what} {show(name)}{hint}")])
    return others
