"""A platform whose guest code calls functions that a test defines."""

from collections.abc import Callable, Iterator

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.dispatch.c_calls import CCalls
from theseus_kit.platform import Platform
from theseus_kit.values.linkage import CFunction, ErrorConvention


@pytest.fixture
def platform() -> Iterator[Platform]:
    with assemble() as platform:
        yield platform


@pytest.fixture
def export(platform: Platform) -> Callable[..., Callable[..., int]]:
    """Export a Python body under a prototype; what comes back makes the guest call it."""
    calls = CCalls(platform.machine, platform.hooks, platform.tasks)

    def export(
        prototype: str,
        body: Callable[..., object],
        on_error: ErrorConvention = ErrorConvention.FATAL,
        **more: object,
    ) -> Callable[..., int]:
        address = calls.export(CFunction(prototype, body, on_error=on_error, **more))
        return lambda *arguments, **options: platform.machine.call(address, arguments, **options)

    return export
