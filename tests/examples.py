"""How many examples a property test draws: all of them in CI, a tenth where somebody waits for the result."""

import os

import pytest
from hypothesis import HealthCheck, settings

ALL = "ALL_EXAMPLES"
"""Set by CI: the full number of examples takes minutes."""

_FEWEST = 5
_DEFAULT = 100


def examples(full: int) -> settings:
    """A decorator for a property test that draws `full` examples in CI."""
    return settings(max_examples=full if os.environ.get(ALL) else max(_FEWEST, full // 10))


in_ci = pytest.mark.skipif(not os.environ.get(ALL), reason=f"takes long, and runs where {ALL} is set")
"""For a test, or a case of one, that others like it stand for."""


def use_defaults() -> None:
    """For property tests without a number of their own. A machine that is busy with other tests is no defect: examples
    may take as long as they take.
    """
    settings.register_profile(
        "streamgauge", examples(_DEFAULT), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("streamgauge")
