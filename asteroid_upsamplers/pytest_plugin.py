"""pytest's fixture ``artifacts_gate``: a test that fails where a network makes loud tones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def artifacts_gate() -> Callable[..., Any]:
    """``artifacts_gate(network, max_tone_db=-60)`` probes a network and fails on louder tones.

    It takes the arguments of ``asteroid_upsamplers.probe.require_quiet`` and gives its report.
    """
    from .errors import UsageError
    from .probe import LoudToneError, require_quiet  # torch is loaded when a test asks for it

    def gate(network: Any, max_tone_db: float = -60.0, **settings: Any) -> Any:
        __tracebackhide__ = True
        try:
            return require_quiet(network, max_tone_db, **settings)
        except LoudToneError as loud:
            message = str(loud)
        except UsageError as error:  # one line says what is wrong
            raise error.with_traceback(None) from None
        pytest.fail(message, pytrace=False)

    return gate
