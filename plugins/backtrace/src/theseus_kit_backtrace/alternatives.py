"""Providers that do one thing otherwise than ``backtrace``: less, and cheaper.

``backtrace-frame-pointers``  walks stacks by the chain of frame pointers, which needs no tables
``backtrace-symbols``         names by symbol tables alone: no debug information is read, so the
                              first question about an image takes no time to speak of, and no
                              lines and no inlined functions are told
``backtrace-unwinding``       walks as ``backtrace`` does, and leaves names to another plugin
"""

from __future__ import annotations

from collections.abc import Iterator

from theseus_kit.capabilities import Capability
from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import PluginDescription
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.symbols import Frame
from theseus_kit_backtrace.frame_pointers import walk
from theseus_kit_backtrace.plugin import BacktracePlugin, Options, SymbolHooks, UnwindHooks


class FramePointerBacktracePlugin(BacktracePlugin):
    """Symbols and lines from the images' own tables; stacks walked by frame pointers."""

    description = PluginDescription(
        name="backtrace-frame-pointers",
        version="0.1.0",
        summary="symbols from ELF tables, stacks walked by frame pointers",
        provides=frozenset({Group.SYMBOLICATION, Group.UNWINDING}),
        options=Options,
        lacks=frozenset({Capability.FRAMES_WITHOUT_FRAME_POINTERS}),
    )

    @hookimpl
    def unwind_frames(
        self, registers: Registers, stack: AddressRange, is_exact: bool
    ) -> Iterator[Frame]:
        return walk(
            self.services.machine,
            registers.copy(),
            stack,
            is_exact,
            self.options.max_frames,
            self._kinds.at,
            self._placed_frames.caller,
        )


class SymbolTablePlugin(SymbolHooks):
    """Symbols from the images' symbol tables alone."""

    HAS_POSITIONS = False

    description = PluginDescription(
        name="backtrace-symbols",
        version="0.1.0",
        summary="symbols from ELF symbol tables, without debug information",
        provides=frozenset({Group.SYMBOLICATION}),
        lacks=frozenset({Capability.SOURCE_POSITIONS, Capability.INLINED_FUNCTIONS}),
    )


class UnwindingPlugin(UnwindHooks):
    """Stacks walked by unwind tables; names are another plugin's."""

    description = PluginDescription(
        name="backtrace-unwinding",
        version="0.1.0",
        summary="stacks walked by .eh_frame",
        provides=frozenset({Group.UNWINDING}),
        options=Options,
    )
