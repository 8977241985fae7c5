"""How many examples hypothesis tries: profiles, chosen by HYPOTHESIS_PROFILE or pytest's --hypothesis-profile.

`framebridge` is the whole, `short` a tenth of it (`make check`, sanitizers), `long` ten times as much. A test that
wants another number than the profile says `@settings(max_examples=examples(N))`: N of the whole, and its part of the
others. Under CI the same code gets the same lives; new ones are a developer's.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

WHOLE = 100
PROFILES = {"short": WHOLE // 10, "framebridge": WHOLE, "long": 10 * WHOLE}


def register() -> None:
    """Make the profiles known and load the chosen one; before any test module is imported."""
    for name, count in PROFILES.items():
        settings.register_profile(
            name,
            max_examples=count,
            deadline=None,
            print_blob=True,
            derandomize=bool(os.environ.get("CI")),
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "framebridge"))


def examples(whole: int) -> int:
    """`whole` under the profile `framebridge`, in proportion under the one that is loaded."""
    return max(1, whole * settings.default.max_examples // WHOLE)
