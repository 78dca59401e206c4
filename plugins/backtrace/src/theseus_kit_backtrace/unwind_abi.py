"""The ``_Unwind_*`` C functions: what images import to look at a stack and to unwind it.

Each is declared here and answered by another part: contexts by ``unwind_contexts.py``, raising by
``raising.py``. What Rust's std::backtrace and C's backtrace(3) call, a guest callback for each
frame, is here.

Source: the Itanium C++ ABI, "Exception Handling", 1.3, and libgcc's unwind.inc, of which this
keeps two habits: _Unwind_GetCFA is the frame's stack pointer, and an end of the stack is reported
as _URC_END_OF_STACK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from theseus_kit.values.linkage import CFunction
from theseus_kit_backtrace.unwind_contexts import Context, Contexts

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.plugin import Services
    from theseus_kit.values.symbols import Frame
    from theseus_kit_backtrace.raising import Raising
    from theseus_kit_backtrace.run_time_tables import RunTimeTables

_URC_NO_REASON = 0
_URC_FATAL_PHASE1_ERROR = 3
_URC_END_OF_STACK = 5

_DT_PLTGOT = 3


class UnwindFunctions:
    """The functions and the contexts they hand out, for one platform."""

    def __init__(
        self,
        services: Services,
        tables: RunTimeTables,
        contexts: Contexts,
        raising: Callable[[], Raising],
    ) -> None:
        self._services = services
        self._tables = tables
        self._contexts = contexts
        self._raising = raising

    def functions(self) -> Iterable[CFunction]:
        header = "unwind.h"
        contexts = self._contexts
        plain = (
            ("uintptr_t _Unwind_GetIP(void *context)", contexts.instruction_pointer),
            (
                "void _Unwind_SetIP(void *context, uintptr_t value)",
                contexts.set_instruction_pointer,
            ),
            ("uintptr_t _Unwind_GetGR(void *context, int index)", contexts.general_register),
            (
                "void _Unwind_SetGR(void *context, int index, uintptr_t value)",
                contexts.set_general_register,
            ),
            (
                "uintptr_t _Unwind_GetIPInfo(void *context, int *is_exact)",
                self.instruction_pointer_info,
            ),
            ("uintptr_t _Unwind_GetCFA(void *context)", self.stack_pointer),
            ("uintptr_t _Unwind_GetRegionStart(void *context)", self.region_start),
            (
                "void *_Unwind_GetLanguageSpecificData(void *context)",
                self.language_specific_data,
            ),
            ("uintptr_t _Unwind_GetTextRelBase(void *context)", self.text_base),
            ("uintptr_t _Unwind_GetDataRelBase(void *context)", self.data_base),
            ("void *_Unwind_FindEnclosingFunction(void *address)", self.enclosing_function),
            ("void __register_frame(const void *begin)", self.register_frame),
            ("void __deregister_frame(const void *begin)", self.deregister_frame),
        )
        # A function that does not return to its caller returns where the guest goes on instead,
        # so all of these have a result.
        reentering = (
            ("int _Unwind_Backtrace(void *callback, void *argument)", self.backtrace),
            ("uintptr_t _Unwind_RaiseException(void *exception)", self.raise_exception),
            ("uintptr_t _Unwind_Resume(void *exception)", self.resume),
            ("uintptr_t _Unwind_Resume_or_Rethrow(void *exception)", self.resume_or_rethrow),
            (
                "uintptr_t _Unwind_ForcedUnwind(void *exception, void *stop, void *argument)",
                self.forced_unwind,
            ),
            ("uintptr_t _Unwind_DeleteException(void *exception)", self.delete_exception),
        )
        return (
            *(CFunction(prototype, body, header) for prototype, body in plain),
            *(CFunction(prototype, body, header, reenters=True) for prototype, body in reentering),
        )

    def backtrace(self, callback: int, argument: int) -> int:
        """Call ``callback(context, argument)`` for each frame, the caller's first."""
        call = self._services.machine.call
        for frame in self._callers():
            context = self._contexts.open(Context(frame))
            try:
                answer = call(callback, (context, argument)) & 0xFFFFFFFF
            finally:
                self._contexts.close()
            if answer != _URC_NO_REASON:
                return _URC_FATAL_PHASE1_ERROR
        return _URC_END_OF_STACK

    def instruction_pointer_info(self, context: int, is_exact: int) -> int:
        asked = self._contexts.of(context)
        self._services.machine.memory.write_u32(is_exact, int(asked.frame.is_exact))
        return asked.registers.rip

    def stack_pointer(self, context: int) -> int:
        return self._frame(context).stack_pointer

    def region_start(self, context: int) -> int:
        """The start of the frame's function: the unwinder's, else the symbol table's, else 0."""
        frame = self._frame(context)
        return frame.function_start or self.enclosing_function(frame.lookup_address)

    def language_specific_data(self, context: int) -> int:
        """The address of the frame's LSDA, 0 if it has none or the unwinder cannot tell."""
        return self._frame(context).language_specific_data or 0

    def text_base(self, context: int) -> int:
        """0: on x86-64 nothing is encoded relative to the start of the text."""
        self._frame(context)
        return 0

    def data_base(self, context: int) -> int:
        """The address of the image's global offset table, as libgcc has it; 0 outside images."""
        image = self._image(self._frame(context).lookup_address)
        if image is None or _DT_PLTGOT not in image.dynamic:
            return 0
        return image.base + image.dynamic.get(_DT_PLTGOT)

    # Hardly any platform's guest throws: what it takes is made when one does.

    def raise_exception(self, exception: int) -> int:
        return self._raising().raise_exception(exception)

    def resume(self, exception: int) -> int:
        return self._raising().resume(exception)

    def resume_or_rethrow(self, exception: int) -> int:
        return self._raising().resume_or_rethrow(exception)

    def forced_unwind(self, exception: int, stop: int, argument: int) -> int:
        return self._raising().forced_unwind(exception, stop, argument)

    def delete_exception(self, exception: int) -> int:
        return self._raising().delete_exception(exception)

    def register_frame(self, begin: int) -> None:
        """Hand a JIT's .eh_frame section to the platform's unwinder, as libgcc's does."""
        self._services.hooks.unwind_register_tables(frame_table=begin)

    def deregister_frame(self, begin: int) -> None:
        self._services.hooks.unwind_unregister_tables(frame_table=begin)

    def enclosing_function(self, address: int) -> int:
        """The start of the function that holds an address, 0 if nothing knows it."""
        run_time = self._tables.function_at(address)
        if run_time is not None:
            return run_time.start
        for symbol in self._services.hooks.symbolicate(address=address):
            if symbol.name is not None:
                return int(symbol.address)
        return 0

    def _callers(self) -> Iterator[Frame]:
        """The frames from the C function's caller on, none of which is at an exact address."""
        # What the machine tells inside a C function is its return address.
        frames: Iterator[Frame] = self._services.hooks.unwind_frames(
            registers=self._services.machine.registers(),
            stack=self._services.tasks.current.stack,
            is_exact=False,
        )
        return frames

    def _frame(self, context: int) -> Frame:
        return self._contexts.of(context).frame

    def _image(self, address: int) -> Image | None:
        return self._services.namespace.image_at(address)
