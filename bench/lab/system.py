"""What a system under test is, and where the harness finds them all.

A system is one small file in bench/systems/ with an instance of a subclass of `System` in SYSTEMS. It says
what it needs, how it looks from outside (does it tag? can it carry super-frames?) and how to start it on a
`Site`. Everything it starts is ended with the site.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod

from bench.errors import BenchError

from . import net
from .site import Site


class System(ABC):
    """One system under test."""

    name: str  # in results and on the command line
    title: str  # for people
    needs: tuple[tuple[str, str], ...] = ()  # (command, Debian package)
    guest: str = "tap"  # tap | veth: what a guest is attached with
    tagged = False  # guests are access ports of a VLAN that is tagged on the trunk
    super_frames = False  # moves GSO buffers and unfinished checksums
    learns = True  # keeps an FDB: known unicast goes to one port only
    carries_tags = True  # a tag that a guest speaks comes out on the trunk
    flushes = False  # can forget what it has learned, see flush()
    guests_max = 1  # beside the trunk
    quick = True  # part of the quick mode
    major = True  # worth every repetition of the quick mode
    sweeps = False  # worth searches and sweeps, which take long

    def require(self) -> None:
        """Raise SkippedError when something is missing on this machine."""
        for command, package in self.needs:
            net.require_command(command, package)

    def version(self) -> str:
        """Return the version that runs here, as it names itself."""
        return ""

    @abstractmethod
    def start(self, site: Site) -> None:
        """Make devices and programs on the site, and return when frames pass."""

    def flush(self, site: Site) -> None:
        """Forget every learned address."""
        raise NotImplementedError(f"{self.name} with {site.prefix}")

    def own_cycles(self, site: Site) -> dict[str, float] | None:
        """Give busy "cycles" and "frames" so far of the system's own data path, if it counts them."""
        del site
        return None

    def __repr__(self) -> str:
        return f"<system {self.name}>"


def all_systems() -> dict[str, System]:
    """Import every file of bench/systems/ and give its systems by name, in the order of their files."""
    import bench.systems as package

    found: dict[str, System] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        for system in importlib.import_module(f"{package.__name__}.{module.name}").SYSTEMS:
            found[system.name] = system
    return found


def choose(names: list[str] | None) -> list[System]:
    """Give the systems with these names; all of them without names."""
    known = all_systems()
    for name in names or []:
        if name not in known:
            raise BenchError(f"no system {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())
