"""framebridge: a layer-2 frame bridge in userspace between guest LANs and 802.1Q VLANs."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("framebridge")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
