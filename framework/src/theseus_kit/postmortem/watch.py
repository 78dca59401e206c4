"""Remembering the last CPU exception while its frames still stand.

A WebAssembly trap is a CPU exception whose frames Wasmtime drops before the caller hears of it.
This plugin wraps the dispatch of exceptions, keeps where the guest was, and writes the core file
if one is wanted. It answers nothing. Frames are kept as addresses; what they are called is asked
when somebody wants to read them.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theseus_kit.dispatch.backtraces import capture_frames, resolve_frames
from theseus_kit.errors import UsageError
from theseus_kit.hookspecs import hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services
from theseus_kit.values.exceptions import ExceptionContext, ExceptionOutcome
from theseus_kit.values.record import NamedTuple
from theseus_kit.values.symbols import BacktraceEntry, Frame, Symbol

if TYPE_CHECKING:
    from theseus_kit.platform import Platform


class LastException(NamedTuple):
    """One exception as it was raised, before any handler saw it."""

    context: ExceptionContext
    """With a copy of the registers, which handlers edit."""
    frames: tuple[Frame, ...]
    names: dict[int, Symbol]
    """What the machine has names for among the frames."""


class ExceptionWatch(Plugin):
    """Keeps :attr:`last`; writes a core file of each exception once :meth:`write_cores` says so."""

    description = PluginDescription(
        name="exception-watch",
        version="0.1.0",
        summary="remembers the frames of the last CPU exception, and writes its core file",
    )

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self.last: LastException | None = None
        self.core_error: UsageError | None = None
        """Why the last core file could not be written."""
        self._cores: tuple[Platform, Path] | None = None

    def write_cores(self, platform: Platform, path: Path) -> None:
        """Write a core file of each exception from now on, the last one replacing the others."""
        self._cores = platform, path

    def entries(self) -> tuple[BacktraceEntry, ...]:
        """The frames of the last exception with their names; none if there was no exception."""
        if self.last is None:
            return ()
        return resolve_frames(self.services.hooks, self.last.frames, self.last.names)

    @hookimpl(wrapper=True)
    def exception_dispatch(
        self, context: ExceptionContext
    ) -> Generator[None, ExceptionOutcome, ExceptionOutcome]:
        seen = ExceptionContext(
            context.vector, context.registers.copy(), context.error_code, context.page_fault
        )
        services = self.services
        self.last = LastException(
            seen, *capture_frames(services.machine, services.hooks, services.tasks)
        )
        if self._cores is not None:
            platform, path = self._cores
            try:
                platform.write_core(path, seen)
                self.core_error = None
            except UsageError as error:  # the exception is what the user is to hear of first
                self.core_error = error
        return (yield)
