"""One `[[mirror]]` of the configuration: which frames are copied, to a port or into a pcapng file. Pure.

Which frames are copied, and in what form, is in csrc/mirror/mirror.h.
Refuses: a mirror without a target or with two, a target that has traffic of its own or is mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath as Path

from bridge.config import checks, words
from bridge.config.key import REQUIRED, ValueType, key, keys, write_keys
from bridge.config.lines import KeyPath
from bridge.config.port import PortConfig
from bridge.config.rates import Rate, reader
from bridge.config.section import Found, Section, Unique
from bridge.config.table import BadValueError, Report, Table, did_you_mean, read_alone, show
from bridge.config.text import listing
from bridge.config.vids import format_vids
from bridge.declared import MIRROR_SNAPLEN_MIN, MIRRORS_MAX

DIRECTIONS = ("rx", "tx", "both")

WHAT = {"frames": (True, False), "drops": (False, True), "all": (True, True)}

SIZE_MIN, SIZE_MAX = 1 << 18, 1 << 44  # bytes of a file

FILE_SIZE = 100_000_000

FILES_MAX = 1000

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _size(value: object) -> int:
    """Check for a number of bytes, written as one or like `100 MB` or `64 MiB`."""
    match = re.fullmatch(r"([0-9]{1,15}) ?(|[kMG]|[KMG]i)B", value) if isinstance(value, str) else None
    number = int(match[1]) * _UNITS[match[2]] if match else value
    if isinstance(number, int) and not isinstance(number, bool) and SIZE_MIN <= number <= SIZE_MAX:
        return number
    raise BadValueError(
        f"expected a size like '100 MB', from {SIZE_MIN} to {SIZE_MAX} bytes, got {show(value)}"
    )


size = ValueType(_size, syntax="SIZE", expected="a size like 100MB")


_path_text = checks.text("a path", 4095)


def path(value: object) -> str:
    """Check for the path of a file, absolute or beneath `mirror_dir`."""
    found: str = _path_text(value)
    if found.endswith("/"):
        raise BadValueError(f"expected the path of a file, got {show(value)}; take the '/' at its end away")
    if ".." in Path(found).parts:
        raise BadValueError(f"{show(value)} leads back; write the path without '..'")
    return str(Path(found))


_bytes = checks.integer(0, 65535, "bytes")


def _snaplen(value: object) -> int:
    """Check for the bytes that are kept of a frame."""
    found: int = _bytes(value)
    if 0 < found < MIRROR_SNAPLEN_MIN:
        raise BadValueError(f"expected 0 (whole frames) or at least {MIRROR_SNAPLEN_MIN} bytes, got {found}")
    return found


snaplen = replace(_bytes, check=_snaplen)


names = ValueType(
    lambda name: (checks.name(name),),
    write=lambda names: list(names) or None,
    syntax="LIST",
    expected="names like a,b",
    read=words.texts,
    is_list=True,
)


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """One `[[mirror]]`. Exactly one of `to_port` and `file` is set."""

    name: str = key(REQUIRED, checks.name)
    to_port: str = key("", checks.name, "a port with `mirror on`", syntax="PORT")
    file: str = key(  # absolute
        "",
        path,
        "beneath mirror_dir; a file with something in it is refused unless you say replace, or files",
        syntax="FILE",
    )
    directory: str = ""  # that the file is beneath, and not led out of; "": it may be anywhere
    ports: tuple[str, ...] = key(
        (), names, "only frames of these ports"
    )  # none: all with traffic of their own
    direction: str = key(
        "both", checks.choice(*DIRECTIONS), "frames that arrive there, or leave, or both (the default)"
    )
    vids: tuple[int, ...] = key(  # none: all, and frames that are in no VLAN
        (), checks.vids, "only frames of these VLANs", name="vlans"
    )
    what: str = key(
        "frames",
        checks.choice(*WHAT),
        "frames that go on (the default), frames that are dropped, or both",
    )
    snaplen: int = key(0, snaplen, "cut copies to so many bytes", syntax="BYTES")  # 0: whole frames
    file_size: int = key(  # bytes
        FILE_SIZE, size, "of a file, like 100MB (the default): then it is full, or", syntax="SIZE"
    )
    files: int = key(  # of that size; the oldest goes when there is one more
        1, checks.integer(1, FILES_MAX), "the next one begins; so many are kept"
    )
    replace: bool = key(False, checks.boolean)  # a file that has something in it
    rate: Rate | None = key(  # None: no limit
        None,
        reader("frames", "bits"),
        "like 10Mbit/s or 1000frames/s; what exceeds it is counted, not copied",
    )


KEYS = keys(MirrorConfig)

_FILE_KEYS = ("file_size", "files", "replace")


def parse_mirror(table: Mapping[str, object], where: str = "mirror") -> MirrorConfig:
    """Validate one mirror given as an object shaped like a `[[mirror]]` table; `where` begins every key path."""
    return read_alone(read_mirror, table, where)


def read_mirror(table: Table) -> MirrorConfig:
    """Read one `[[mirror]]`; flaws are reported to the report of the table and leave their field blank."""
    fields = table.fields(KEYS, required=("name",))
    table.refuse_unknown()
    for name, field in (("ports", "ports"), ("vlans", "vids")):
        if field in fields and not fields[field]:
            table.fail("an empty list mirrors nothing; leave the key out for all", name)
    if ("to_port" in table) == ("file" in table):
        table.fail("write exactly one of to_port = '...' and file = '/...'")
    elif "to_port" in table:
        for name in _FILE_KEYS:
            if name in table:
                table.fail("a mirror to a port writes no file; remove this key or write file = '/...'", name)
    return MirrorConfig(**{"name": "", **fields})


def _place_file(mirror: MirrorConfig, found: Found) -> MirrorConfig:
    """Return the mirror with its file beneath the `mirror_dir` of the bridge, unless it is somewhere else."""
    [(_, bridge)] = found["bridge"]
    if not mirror.file:
        return mirror
    file = str(Path(bridge.mirror_dir) / mirror.file)
    is_beneath = checks.is_beneath(file, bridge.mirror_dir)
    return replace(mirror, file=file, directory=bridge.mirror_dir if is_beneath else "")


def mirror_table(mirror: MirrorConfig) -> dict[str, object]:
    """Return the `[[mirror]]` table, absent keys None."""
    table = write_keys(mirror, KEYS)
    return table if mirror.file else {**table, **dict.fromkeys(_FILE_KEYS)}


def _check(report: Report, found: Found) -> None:
    """Report mirrors of ports that do not exist or cannot be a source or target."""
    by_name = {port.name: port for _, port in found["ports"]}
    for where, mirror in found["mirrors"]:
        for name in mirror.ports:
            _check_source(report, (*where, "ports"), mirror, name, by_name)
        if mirror.to_port:
            _check_target(report, (*where, "to_port"), mirror.to_port, by_name)


def _check_source(
    report: Report, where: KeyPath, mirror: MirrorConfig, name: str, by_name: Mapping[str, PortConfig]
) -> None:
    if name == mirror.to_port:
        report.add(
            where,
            f"port {name!r} is the target of this mirror; a port cannot be mirrored to itself, remove it",
        )
    elif name in by_name and by_name[name].mode == "mirror":
        report.add(
            where, f"port {name!r} only takes copies of mirrors, which are not mirrored again; remove it"
        )
    elif name not in by_name and "" not in by_name:
        report.add(
            where, f"there is no port {name!r}{did_you_mean(name, by_name) or '; add it, or remove it here'}"
        )


def _check_target(report: Report, where: KeyPath, name: str, by_name: Mapping[str, PortConfig]) -> None:
    port = by_name.get(name)
    if port is None:
        if "" not in by_name:
            report.add(where, f"there is no port {name!r}{did_you_mean(name, by_name) or '; add it'}")
    elif port.mode != "mirror":
        carried = f", VLAN {format_vids(port.members)}" if port.members else ""
        report.add(
            where,
            f"port {name!r} has traffic of its own{carried}, which copies would mix with; "
            "give it vlan = { mirror = true }, or choose another port",
        )


def without_port(mirrors: Iterable[MirrorConfig], name: str) -> tuple[MirrorConfig, ...]:
    """Return the mirrors that stay when a port leaves: not those to it, nor those of it alone."""
    kept = []
    for mirror in mirrors:
        ports = tuple(port for port in mirror.ports if port != name)
        if mirror.to_port != name and bool(ports) == bool(mirror.ports):
            kept.append(replace(mirror, ports=ports))
    return tuple(kept)


SECTION = Section(
    name="mirror",
    field="mirrors",
    read=read_mirror,
    write=mirror_table,
    blank=MirrorConfig(""),
    actions=("add_mirror", "set_mirror", "delete_mirror"),
    subject=lambda mirror: mirror.name,
    describe=lambda mirror: listing(mirror_table(mirror), mirror_table(MirrorConfig(mirror.name))),
    identity=lambda mirror: mirror.name,
    label=lambda mirror: mirror.name,
    limit=MIRRORS_MAX,
    unique=(
        Unique("name", lambda mirror: mirror.name, "give each mirror its own name"),
        Unique("file", lambda mirror: mirror.file, "give each mirror its own file"),
    ),
    complete=_place_file,
    check=_check,
)
