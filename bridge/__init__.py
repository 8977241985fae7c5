"""framebridge: a layer-2 frame bridge in userspace between guest LANs and 802.1Q VLANs."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: importlib.metadata is half of the start time of the command."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("framebridge")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
