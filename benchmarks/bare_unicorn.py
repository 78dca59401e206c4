"""The floor under the emulated machine: Unicorn with nothing of ours around it.

A stock engine in the fastest configuration that its public interface allows: Unicorn's own TLB over
memory it was given with ``mem_map_ptr``, paging on so that data pages are not executable (see
:mod:`page_tables`), a TLB grown to the program's needs, and no hook at all while it computes. Guest
memory is host memory, so such an engine can run the very same machine code over the very same
bytes: the platform's regions are mapped at their own addresses.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import unicorn
from machine_code import HALT, OUT_LOOP, code_of
from page_tables import PageTables
from rounds import PROCESSOR
from unicorn import x86_const as x86

from theseus_kit import Platform
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.internals import find_internals
from theseus_kit.machine.emulated.library import HOOK_INSN, INS_OUT, Library
from theseus_kit.values.memory import PAGE_SIZE, Protection

_STOP_OFFSET = 16
"""Not the page's first byte: Unicorn's empty block for the address to stop at would seem to begin
on the page before."""
_LOOP_OFFSET = 64

_TABLES_SIZE = 4 << 20
_CR0_PG_WP_MP_PE = 0x8001_0003
_CR4_PAE, _CR4_OSFXSR, _CR4_OSXMMEXCPT = 1 << 5, 1 << 9, 1 << 10
_MSR_EFER, _EFER_LME_LMA_NXE = 0xC000_0080, 0xD00

OutCallback = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
)
"""uc_cb_insn_out_t: engine, port, size, value, user data (unicorn/x86.h)."""


class BareUnicorn:
    """One stock engine with a page of its own, on which calls return and small loops lie."""

    def __init__(self, *, leave_out_exit_requests: bool = False) -> None:
        """``leave_out_exit_requests`` sets the internal field that the emulated machine sets.

        With it the engine is no stock one, and the difference that is left is our own. Raises
        RuntimeError where the field's place is not known.
        """
        self.engine: Any = cast("Any", unicorn).Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self._library = Library()
        self._handle: ctypes.c_void_p = self.engine._uch
        self._page = mmap.mmap(-1, PAGE_SIZE)
        for offset, listing in ((_STOP_OFFSET, HALT), (_LOOP_OFFSET, OUT_LOOP)):
            code = code_of(listing)
            self._page[offset : offset + len(code)] = code
        page = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._stop, self._loop = page + _STOP_OFFSET, page + _LOOP_OFFSET
        self._tables = PageTables(0, _TABLES_SIZE)
        self._next_physical = _TABLES_SIZE
        self.engine.mem_map_ptr(0, _TABLES_SIZE, unicorn.UC_PROT_ALL, self._tables.host)
        if leave_out_exit_requests:
            self._leave_out_exit_requests()
        self._map(page, PAGE_SIZE, Protection.READ_EXECUTE)
        self._mapped: dict[int, tuple[int, Protection]] = {}
        engine = self.engine
        engine.reg_write(x86.UC_X86_REG_CR3, self._tables.physical)
        engine.reg_write(x86.UC_X86_REG_CR4, _CR4_PAE | _CR4_OSFXSR | _CR4_OSXMMEXCPT)
        engine.reg_write(x86.UC_X86_REG_MSR, (_MSR_EFER, _EFER_LME_LMA_NXE))
        engine.reg_write(x86.UC_X86_REG_CR0, _CR0_PG_WP_MP_PE)

    def _leave_out_exit_requests(self) -> None:
        cpu = SimpleNamespace(
            library=self._library, handle=self._handle.value, handle_argument=self._handle
        )
        internals = find_internals(cast("Cpu", cpu))
        if internals is None:
            raise RuntimeError("this build of Unicorn has its internal fields elsewhere")
        internals.leave_out_exit_requests()

    def _map(self, address: int, size: int, protection: Protection) -> None:
        physical = self._next_physical
        self._next_physical += size
        self.engine.mem_map_ptr(physical, size, int(protection), address)
        self._tables.map(address, physical, size, protection)

    def map_platform(self, platform: Platform) -> None:
        """Map every region that guest code may touch, as it is now: once, for it must not change.

        Raises RuntimeError if the regions have changed since.
        """
        territory = platform.machine.memory.territory
        regions = platform.hooks.memory_query_range(address=territory.start, size=territory.size)
        wanted = {
            region.base: (region.size, region.protection) for region in regions if region.protection
        }
        if self._mapped and wanted != self._mapped:
            raise RuntimeError("the platform's regions have changed under the bare engine")
        if not self._mapped:
            for base, (size, protection) in wanted.items():
                self._map(base, size, protection)
            self._mapped = wanted

    def flush_tlb(self) -> None:
        """Empty the TLB, which is when Unicorn makes it larger if most of it was in use."""
        self.engine.reg_write(x86.UC_X86_REG_CR3, self._tables.physical)

    def call(self, entry: int, arguments: tuple[int, ...], stack_pointer: int) -> tuple[int, float]:
        """Call a function of at most three integers; return rax and the seconds it ran."""
        engine = self.engine
        stack_pointer = (stack_pointer & -16) - 8
        ctypes.c_uint64.from_address(stack_pointer).value = self._stop
        engine.reg_write(x86.UC_X86_REG_RSP, stack_pointer)
        registers = (x86.UC_X86_REG_RDI, x86.UC_X86_REG_RSI, x86.UC_X86_REG_RDX)
        for register, argument in zip(registers, arguments, strict=False):
            engine.reg_write(register, argument)
        start = PROCESSOR()
        engine.emu_start(entry, self._stop)
        seconds = PROCESSOR() - start
        return int(engine.reg_read(x86.UC_X86_REG_RAX)), seconds

    def enter_and_leave(self, times: int) -> float:
        """Seconds for starting the engine at a ``hlt``, by raw calls: the floor of any call."""
        start_engine, handle, stop = self._library.emu_start, self._handle, self._stop
        start = PROCESSOR()
        for _ in range(times):
            start_engine(handle, stop, 0, 0, 0)
        return (PROCESSOR() - start) / times

    def hook_out(self, answer: Callable[[int, int, int, int, int], None]) -> None:
        """Answer ``out`` with a Python function, by a raw ctypes callback.

        Without the Python package around it, which would add its own wrapper to each call.
        """
        self._answer = OutCallback(answer)
        handle = ctypes.c_size_t()
        error = self._library.hook_add(
            self._handle,
            ctypes.byref(handle),
            ctypes.c_int(HOOK_INSN),
            self._answer,
            None,
            *(ctypes.c_uint64(1), ctypes.c_uint64(0), ctypes.c_int(INS_OUT)),
        )
        if error:
            raise RuntimeError(f"Unicorn refuses an out hook: error {error}")

    def out_round_trips(self, times: int) -> None:
        """Go from guest code to the hooked function and back, so many times, in guest code."""
        self.engine.reg_write(x86.UC_X86_REG_RDI, times)
        error = self._library.emu_start(self._handle, self._loop, 0, 0, 0)
        if error:
            raise RuntimeError(f"Unicorn stopped with error {error}")

    def close(self) -> None:
        """Let the engine go before the memory it was given."""
        del self.engine


def function_entry(platform: Platform, store: Any, function: Any) -> tuple[int, int]:
    """Return a wasm function's machine code and the context it must be given, as addresses.

    ``wasmtime_func_to_raw`` tells where the function's VMFuncRef is, which is (Wasmtime's
    vmcontext.rs)::

        +0   array_call   called by the host with an array of values
        +8   wasm_call    called by other wasm functions: (context, caller's context, arguments…)
        +16  type index
        +24  context
    """
    ffi: Any = platform.boot().load_submodule("wasmtime._ffi")
    reference = ffi.wasmtime_func_to_raw(store._context(), ctypes.byref(function._func))
    _, code, _, context = struct.unpack("<4Q", platform.machine.memory.read(reference, 32))
    return code, context
