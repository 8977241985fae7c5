"""The binding of csrc/: what runs in C, as Python objects. `_core` has all of it; `values` is plain Python.

The parts (`_core`, `_handles`, `_offload`, `_snapshot`, `_ha`, `_multicast`) are modules in one extension file, that of
`_core`, as code in C that is linked into two files exists twice. Python looks for a module in a file of its name, so
the others are loaded here.
"""

import sys
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec, spec_from_file_location


def _load_parts() -> None:
    whole = PathFinder.find_spec(f"{__name__}._core", __path__)
    if whole is None or whole.origin is None:
        raise ImportError("framebridge is not built here; run make build, or pip install it")
    for part in ("_handles", "_offload", "_snapshot", "_ha", "_multicast"):  # what each needs comes before it
        name = f"{__name__}.{part}"
        spec = spec_from_file_location(name, loader=ExtensionFileLoader(name, whole.origin))
        if spec is None or spec.loader is None:
            raise ImportError(f"{name} cannot be loaded from {whole.origin}")
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


_load_parts()
