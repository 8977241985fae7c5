"""The bridges: one small file each. What a machine lacks is skipped with the reason."""

from __future__ import annotations

from conformance.target import Target
from conformance.targets.daemon import LinkTarget, TapTarget
from conformance.targets.linux_bridge import LinuxBridgeTarget
from conformance.targets.memory import MemoryTarget
from conformance.targets.ovs import OvsTarget

TARGETS: tuple[type[Target], ...] = (MemoryTarget, LinkTarget, TapTarget, OvsTarget, LinuxBridgeTarget)
OURS = {"memory", "link", "tap"}
