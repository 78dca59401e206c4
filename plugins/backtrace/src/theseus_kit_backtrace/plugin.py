"""The plugin ``backtrace``: symbolication and unwinding, each by all that the images tell.

The two groups are two classes here, which the providers in ``alternatives.py`` put together
differently. What only a question about a stack or a name needs is imported at the first one: most
boots ask none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services, option
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import AddressRange
from theseus_kit_backtrace.run_time_tables import RunTimeTables
from theseus_kit_backtrace.unwind_abi import UnwindFunctions
from theseus_kit_backtrace.unwind_contexts import Contexts

if TYPE_CHECKING:
    from theseus_kit.errors import GuestUnwinding
    from theseus_kit.image import Image
    from theseus_kit.values.symbols import Frame, RuntimeCode, Symbol
    from theseus_kit_backtrace.code_kinds import CodeKinds
    from theseus_kit_backtrace.dwarf_unwinder import DwarfUnwinder
    from theseus_kit_backtrace.jit_images import JitImages
    from theseus_kit_backtrace.killing import Killing
    from theseus_kit_backtrace.placed_code import PlacedFrames
    from theseus_kit_backtrace.raising import Personalities, Raising
    from theseus_kit_backtrace.symbolizer import Symbolizer
    from theseus_kit_backtrace.unwind_tables import UnwindTables


@dataclass(eq=False, repr=False)
class Options:
    """What can be set of the plugin."""

    max_frames: int = option(64, help="frames after which a stack walk ends")
    clean_up_on_kill: bool = option(
        False, help="run the guest's destructors whenever it is killed, not only when asked to"
    )


class Parts(Plugin):
    """What the hooks of both groups are made of, each part made when it is first needed."""

    HAS_POSITIONS = True
    """Whether debug information is read."""

    @cached_property
    def _jit_images(self) -> JitImages:
        from theseus_kit_backtrace.jit_images import JitImages

        return JitImages(self.services)

    @cached_property
    def _kinds(self) -> CodeKinds:
        from theseus_kit_backtrace.code_kinds import CodeKinds

        return CodeKinds(self.services, self._jit_images)

    @cached_property
    def _symbolizer(self) -> Symbolizer:
        from theseus_kit_backtrace.symbolizer import Symbolizer

        return Symbolizer(self.services, self._jit_images, self.HAS_POSITIONS)


class SymbolHooks(Parts):
    """The hooks of symbolication."""

    @hookimpl
    def symbol_lookup(self, name: str) -> Symbol | None:
        return self._symbolizer.lookup(name)

    @hookimpl
    def symbolicate(self, address: int) -> Sequence[Symbol]:
        return self._symbolizer.symbolicate(address)

    @hookimpl
    def symbols_register(self, code: RuntimeCode) -> None:
        self._symbolizer.register(code)

    @hookimpl
    def symbols_unregister(self, text_start: int) -> None:
        self._symbolizer.unregister(text_start)

    @hookimpl
    def image_unloaded(self, image: Image) -> None:
        self._symbolizer.forget(image)


class UnwindHooks(Parts):
    """The hooks of unwinding, and the C functions over them.

    Exceptions are raised by unwind tables, however a subclass may walk stacks.
    """

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self._run_time_tables = RunTimeTables(services.machine.memory)
        self._contexts = Contexts()
        self._unwind_functions = UnwindFunctions(
            services, self._run_time_tables, self._contexts, lambda: self._raising
        )

    @cached_property
    def _personalities(self) -> Personalities:
        from theseus_kit_backtrace.raising import Personalities

        return Personalities(self.services, lambda: self._unwinder, self._contexts)

    @cached_property
    def _killing(self) -> Killing:
        from theseus_kit_backtrace.killing import Killing

        return Killing(self.services, self._personalities)

    @cached_property
    def _raising(self) -> Raising:
        from theseus_kit_backtrace.raising import Raising

        return Raising(self.services, self._personalities, self._killing)

    @cached_property
    def _placed_frames(self) -> PlacedFrames:
        from theseus_kit_backtrace.placed_code import PlacedFrames

        return PlacedFrames(self.services.machine)

    @cached_property
    def _tables(self) -> UnwindTables:
        from theseus_kit_backtrace.unwind_tables import UnwindTables

        return UnwindTables(self.services.namespace, self._run_time_tables, self._placed_frames)

    @cached_property
    def _unwinder(self) -> DwarfUnwinder:
        from theseus_kit_backtrace.dwarf_unwinder import DwarfUnwinder

        return DwarfUnwinder(self._tables, self.services.machine, self._kinds.at)

    @hookimpl
    def unwind_frames(
        self, registers: Registers, stack: AddressRange, is_exact: bool
    ) -> Iterator[Frame]:
        return self._unwinder.walk(registers.copy(), stack, is_exact, self.options.max_frames)

    @hookimpl
    def unwind_register_tables(self, frame_table: int) -> None:
        self._run_time_tables.register(frame_table)

    @hookimpl
    def unwind_unregister_tables(self, frame_table: int) -> None:
        self._run_time_tables.unregister(frame_table)

    @hookimpl
    def unwind_resume(
        self, registers: Registers, is_exact: bool, is_requested: bool
    ) -> bool | None:
        if not (is_requested or self.options.clean_up_on_kill):
            return None
        return self._killing.clean_up(registers, is_exact)

    @hookimpl
    def unwind_continue(self, unwinding: GuestUnwinding, registers: Registers | None) -> int:
        return self._raising.go_on(unwinding.exception, registers)

    @hookimpl
    def c_symbols(self) -> Iterable[CFunction]:
        return self._unwind_functions.functions()

    @hookimpl
    def image_unloaded(self, image: Image) -> None:
        self._tables.forget(image)


class BacktracePlugin(UnwindHooks, SymbolHooks):
    """Symbols and lines from the images' own tables; stacks walked by their unwind tables."""

    description = PluginDescription(
        name="backtrace",
        version="0.1.0",
        summary="symbols from ELF tables, stacks walked by .eh_frame",
        provides=frozenset({Group.SYMBOLICATION, Group.UNWINDING}),
        options=Options,
    )

    @hookimpl
    def image_unloaded(self, image: Image) -> None:
        self._symbolizer.forget(image)
        self._tables.forget(image)
