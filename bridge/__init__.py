"""framebridge: a layer-2 frame bridge in userspace between guest LANs and 802.1Q VLANs."""

__version__ = "0.1.0"  # of the package, too (pyproject.toml)
