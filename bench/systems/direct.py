"""A veth from guest to outside with nothing in between: the zero of every cost."""

from __future__ import annotations

from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System


class Direct(System):
    name = "direct"
    title = "direct veth"
    guest = "veth"
    super_frames = True
    learns = False

    def start(self, site: Site) -> None:
        net.add_veth(site.guest_space, "g0", site.outer_space, "ext", mtu=site.mtu)
        site.wait_ready()


SYSTEMS = [Direct()]
