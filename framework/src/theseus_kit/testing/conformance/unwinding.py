"""Conformance of unwinding: walking stacks, and running landing pads on the way up."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from theseus_kit.capabilities import Capability
from theseus_kit.errors import AlreadyRegisteredError, GuestKilled, NotRegisteredError
from theseus_kit.hookspecs import Group, Unwinding
from theseus_kit.testing.conformance.guest_image import GuestImage
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.exceptions import KillRequested, Registers
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import AddressRange, BytesBacking, MapRequest, Protection
from theseus_kit.values.symbols import BacktraceEntry, Frame, FrameKind

JITTED = """
    push rbx
    sub rsp, 16
    call rdi
    add rsp, 16
    pop rbx
    ret
"""
JITTED_CODE = bytes.fromhex("53 4883ec10 ffd7 4883c410 5b c3")
AFTER_THE_CALL = 7

# CIE "zR", absolute pointers, CFA = rsp + 8 at entry; FDE: + 8 after push, + 16 after sub.
_CIE = bytes.fromhex("00000000 01 7a5200 01 78 10 01 00 0c0708 9001") + bytes(3)
_FDE_RULES = bytes.fromhex("00 41 0e10 8302 44 0e20")


def frame_table(start: int, size: int) -> bytes:
    """An .eh_frame section that describes JITTED_CODE at an address; ends with a zero length."""
    cie = struct.pack("<I", len(_CIE)) + _CIE
    fde = struct.pack("<IQQ", len(cie) + 4, start, size) + _FDE_RULES
    fde += bytes(-len(fde) % 8)
    return cie + struct.pack("<I", len(fde)) + fde + bytes(4)


class UnwindingConformance(Conformance):
    """The group's suite."""

    group = Group.UNWINDING

    @cached_property
    def guest(self) -> GuestImage:
        return GuestImage(self.platform)

    def export(self, prototype: str, body: Any) -> int:
        return self.platform.export(CFunction(prototype, body, reenters=True))

    def trace_inside(self, function: int, *arguments: int) -> tuple[BacktraceEntry, ...]:
        """Call a guest function with a callback, and return the backtrace taken in that."""
        traces: list[tuple[BacktraceEntry, ...]] = []

        def look() -> int:
            traces.append(self.platform.backtrace())
            return 0

        callback = self.export("long look(void)", look)
        self.machine.call(function, (callback, *arguments))
        return traces[0]

    def frames(
        self, registers: Registers, stack: AddressRange, is_exact: bool = True
    ) -> Iterator[Frame]:
        walk: Iterator[Frame] = self.hooks.unwind_frames(
            registers=registers, stack=stack, is_exact=is_exact
        )
        return walk

    def functions(self, trace: Sequence[BacktraceEntry], prefix: str) -> list[str]:
        """The names of the test image's functions that a trace's frames are in."""
        names = [f"{prefix}_{name}" for name in ("innermost", "middle", "outermost")]
        return [
            name
            for entry in trace
            for name in names
            if entry.frame.lookup_address in self.guest.range(name)
        ]

    def scratch_stack(self) -> AddressRange:
        region = self.hooks.memory_map(request=MapRequest(16 * 4096, label="a test's stack"))
        stack: AddressRange = region.range
        return stack

    @clause(Unwinding.unwind_frames, "Walk the frames from a register state, innermost first")
    def test_every_caller_with_a_frame_pointer_is_seen_innermost_first(self) -> None:
        trace = self.trace_inside(self.guest.address("kept_outermost"))
        expected = ["kept_innermost", "kept_middle", "kept_outermost"]
        assert self.functions(trace, "kept") == expected

    @needs(Capability.FRAMES_WITHOUT_FRAME_POINTERS)
    @clause(Unwinding.unwind_frames, "Walk the frames from a register state, innermost first")
    def test_callers_without_a_frame_pointer_are_seen_too(self) -> None:
        trace = self.trace_inside(self.guest.address("omitted_outermost"))
        expected = ["omitted_innermost", "omitted_middle", "omitted_outermost"]
        assert self.functions(trace, "omitted") == expected

    @clause(
        Unwinding.unwind_frames,
        "``is_exact`` says that ``registers.rip`` is the very instruction (of a fault)",
    )
    def test_a_fault_s_own_frame_is_exact_and_its_callers_are_not(self) -> None:
        outermost = self.guest.address("kept_outermost")
        killed = self.raised(GuestKilled, self.machine.call, outermost, (0, 0))
        assert killed.context is not None
        frames = [entry.frame for entry in killed.backtrace]
        assert frames[0].is_exact
        assert frames[0].instruction_pointer == killed.context.instruction_pointer
        assert frames[0].stack_pointer == killed.context.stack_pointer
        assert frames[0].lookup_address in self.guest.range("kept_innermost")
        assert not any(frame.is_exact for frame in frames[1:3])
        expected = ["kept_innermost", "kept_middle", "kept_outermost"]
        assert self.functions(killed.backtrace, "kept") == expected

    @clause(Unwinding.unwind_frames, "and not the return address after a call")
    @clause(Unwinding.unwind_frames, "Walk the frames from a register state")
    def test_the_first_frame_is_the_register_state_itself(self) -> None:
        stack = self.scratch_stack()
        code = self.guest.address("kept_innermost") + 4
        for is_exact in (True, False):
            state = Registers(rip=code, rsp=stack.end - 256, rbp=0)
            first = next(self.frames(state, stack, is_exact))
            assert (first.instruction_pointer, first.stack_pointer) == (code, stack.end - 256)
            assert first.is_exact is is_exact
            assert first.lookup_address == (code if is_exact else code - 1)

    @clause(Unwinding.unwind_frames, "lazily")
    def test_registers_that_change_during_a_walk_do_not_disturb_it(self) -> None:
        stack = self.scratch_stack()
        code = self.guest.address("kept_innermost")
        state = Registers(rip=code, rsp=stack.end - 256, rbp=0)
        walk = self.frames(state, stack)
        state.rip = state.rsp = 0
        assert next(walk).instruction_pointer == code

    @clause(Frame, "the caller's stack pointer after the return")
    def test_stack_pointers_rise_and_each_cfa_is_the_caller_s_stack_pointer(self) -> None:
        trace = self.trace_inside(self.guest.address("kept_outermost"))
        frames = [entry.frame for entry in trace if entry.frame.kind is FrameKind.GUEST]
        assert len(frames) >= 3
        for frame, caller in pairwise(frames):
            assert frame.stack_pointer < caller.stack_pointer
            assert frame.canonical_frame_address in (None, caller.stack_pointer)

    @clause(Unwinding.unwind_frames, "The walk ends at the stack's end")
    def test_a_walk_ends_where_the_guest_was_called_from(self) -> None:
        stack = self.task.stack
        trace = self.trace_inside(self.guest.address("kept_outermost"))
        assert all(entry.frame.stack_pointer <= stack.end for entry in trace)
        assert trace[-1].frame.end_reason is None

    @clause(Unwinding.unwind_frames, "where it can make no sense of what it finds")
    @clause(Unwinding.unwind_frames, "it never raises for the guest's sake")
    def test_a_walk_of_rubbish_ends_and_raises_nothing(self) -> None:
        numbers = random.Random(7)
        stack = self.scratch_stack()
        code = self.guest.range("kept_innermost")
        strange = (0, 1, 0xDEAD, stack.start, stack.end - 8, code[0], 1 << 47, (1 << 64) - 8)
        for _ in range(60):
            words = [
                numbers.choice((*strange, numbers.choice(code), numbers.choice(stack_words(stack))))
                for _ in range(512)
            ]
            self.memory.write(stack.end - 8 * len(words), struct.pack(f"<{len(words)}Q", *words))
            state = Registers(
                rip=numbers.choice((*strange, *code)),
                rsp=numbers.choice((*strange, stack.end - 2048)),
                rbp=numbers.choice((*strange, stack.end - 1024)),
            )
            for number, _ in enumerate(self.frames(state, stack)):
                assert number < 10_000

    @clause(Unwinding.unwind_frames, "where it can make no sense of what it finds")
    def test_a_chain_that_leads_back_to_itself_ends(self) -> None:
        stack = self.scratch_stack()
        code = self.guest.address("kept_innermost") + 0x33  # after its call
        low, high = stack.end - 512, stack.end - 256
        for frame_pointer, saved in ((low, low), (low, high), (high, low)):
            self.memory.write(frame_pointer, struct.pack("<QQ", saved, code))
        state = Registers(rip=code, rsp=stack.end - 1024, rbp=low)
        for number, _ in enumerate(self.frames(state, stack, is_exact=False)):
            assert number < 10_000

    @clause(FrameKind, "What code a frame belongs to")
    def test_frames_tell_what_code_they_are_of(self) -> None:
        trace = self.trace_inside(self.guest.address("kept_outermost"))
        for entry in trace:
            frame = entry.frame
            if frame.lookup_address in self.guest.image.range:
                assert frame.kind is FrameKind.GUEST
            elif self.machine.is_own_code(frame.lookup_address):
                assert frame.kind in (FrameKind.TRANSITION, FrameKind.PLATFORM, FrameKind.HOST)
        assert trace[0].frame.kind is FrameKind.HOST

    @needs(Capability.FRAMES_WITHOUT_FRAME_POINTERS)
    @clause(FrameKind, "WebAssembly's, compiled by the runtime")
    def test_webassembly_s_frames_are_found_between_the_runtime_s(self) -> None:
        wasmtime = self.platform.wasmtime
        traces: list[tuple[BacktraceEntry, ...]] = []
        store = wasmtime.Store()
        host = wasmtime.Func(
            store,
            wasmtime.FuncType([], []),
            lambda: traces.append(self.platform.backtrace()),
        )
        module = wasmtime.Module(store.engine, CALLING)
        wasmtime.Instance(store, module, [host]).exports(store)["outer"](store)
        kinds = [entry.frame.kind for entry in traces[0]]
        assert kinds.count(FrameKind.WASM) >= 2
        first, last = kinds.index(FrameKind.WASM), len(kinds) - kinds[::-1].index(FrameKind.WASM)
        assert FrameKind.GUEST in kinds[:first]
        assert FrameKind.GUEST in kinds[last:]

    @clause(Unwinding, "Its provider offers images the C functions over these too")
    def test_wasmtime_registers_what_it_compiled_runs_it_and_traps(self) -> None:
        wasmtime = self.platform.wasmtime
        for _ in range(2):
            store = wasmtime.Store()
            module = wasmtime.Module(store.engine, TRAPPING)
            exports = wasmtime.Instance(store, module, []).exports(store)
            assert exports["answer"](store) == 42
            self.raised(wasmtime.Trap, exports["trap"], store)
            del exports, module, store

    def jitted(self) -> tuple[int, int]:
        """Map run-time code without a frame pointer, and its table; return both addresses."""
        request = MapRequest(
            4096, Protection.READ_EXECUTE, backing=BytesBacking(JITTED_CODE), label="jitted"
        )
        code = self.hooks.memory_map(request=request).base
        data = BytesBacking(frame_table(code, len(JITTED_CODE)))
        table = self.hooks.memory_map(request=MapRequest(4096, backing=data)).base
        return code, table

    def sees_through(self, code: int) -> bool:
        """Whether a walk from inside run-time code reaches the image's function that called it."""
        traces: list[tuple[BacktraceEntry, ...]] = []

        def look() -> int:
            traces.append(self.platform.backtrace())
            return 0

        inner = self.export("long look(void)", look)

        def call_jitted() -> int:
            return self.machine.call(code, (inner,))

        callback = self.export("long call_jitted(void)", call_jitted)
        self.machine.call(self.guest.address("kept_outermost"), (callback, 0))
        (trace,) = traces
        after = code + AFTER_THE_CALL
        (index,) = [i for i, e in enumerate(trace) if e.frame.instruction_pointer == after]
        frame, caller = trace[index].frame, trace[index + 1].frame
        return self.machine.is_own_code(caller.lookup_address) and (
            caller.stack_pointer == frame.stack_pointer + 32
        )

    @needs(Capability.RUNTIME_TABLES, Capability.FRAMES_WITHOUT_FRAME_POINTERS)
    @clause(
        Unwinding.unwind_register_tables,
        "Learn the .eh_frame section at ``frame_table``, which describes run-time code",
    )
    @clause(Unwinding.unwind_unregister_tables, "Forget a table of run-time code")
    def test_run_time_code_is_walked_through_while_its_table_is_registered(self) -> None:
        code, table = self.jitted()
        self.hooks.unwind_register_tables(frame_table=table)
        assert self.sees_through(code)
        self.hooks.unwind_unregister_tables(frame_table=table)
        assert self.forgets(code)
        self.hooks.unwind_register_tables(frame_table=table)
        assert self.sees_through(code)

    def forgets(self, code: int) -> bool:
        stack = self.scratch_stack()
        state = Registers(rip=code + AFTER_THE_CALL, rsp=stack.end - 256, rbp=0)
        self.memory.write_u64(stack.end - 232, self.guest.address("kept_innermost") + 0x33)
        return len(list(self.frames(state, stack, is_exact=False))) == 1

    @needs(Capability.RUNTIME_TABLES)
    @clause(Unwinding.unwind_register_tables, "Raises AlreadyRegisteredError")
    def test_a_table_is_registered_once(self) -> None:
        _, table = self.jitted()
        self.hooks.unwind_register_tables(frame_table=table)
        with self.refused(AlreadyRegisteredError, errno.EEXIST):
            self.hooks.unwind_register_tables(frame_table=table)

    @needs(Capability.RUNTIME_TABLES)
    @clause(Unwinding.unwind_unregister_tables, "Raises NotRegisteredError")
    def test_a_table_that_is_not_registered_cannot_be_forgotten(self) -> None:
        _, table = self.jitted()
        with self.refused(NotRegisteredError, errno.ENOENT):
            self.hooks.unwind_unregister_tables(frame_table=table)
        self.hooks.unwind_register_tables(frame_table=table)
        self.hooks.unwind_unregister_tables(frame_table=table)
        with self.refused(NotRegisteredError, errno.ENOENT):
            self.hooks.unwind_unregister_tables(frame_table=table)

    def cleaned_up(self) -> list[int]:
        """What the image's cleanups have noted, in order."""
        count = self.memory.read_u32(self.guest.address("count"))
        data = self.memory.read(self.guest.address("order"), 4 * count)
        self.memory.write_u32(self.guest.address("count"), 0)
        return list(struct.unpack(f"<{count}i", data))

    @needs(Capability.LANDING_PADS)
    @clause(
        Unwinding.unwind_resume,
        "Run the landing pads of a killed task's frames, innermost first, before they go",
    )
    @clause(Unwinding.unwind_resume, "Python waits for the kill in ``catch_unwind``")
    def test_a_kill_that_is_waited_for_runs_cleanups_innermost_first(self) -> None:
        def give_up() -> None:
            self.platform.resume_unwind(KillRequested())

        callback = self.export("long give_up(void)", give_up)
        function = self.guest.address("outer_cleanup")
        caught = self.platform.catch_unwind(self.machine.call, function, (callback,))
        assert caught.reason == KillRequested()
        assert self.cleaned_up() == [1, 2, 3]

    @needs(Capability.LANDING_PADS)
    @clause(Unwinding.unwind_resume, "True: every landing pad has run")
    @clause(Unwinding.unwind_resume, "From a register state to the entry of the guest call")
    @clause(Unwinding.unwind_resume, "so nothing is reported or run twice")
    def test_each_guest_call_that_a_kill_leaves_is_cleaned_up_once(self) -> None:
        function = self.guest.address("outer_cleanup")

        def give_up() -> None:
            self.platform.resume_unwind(KillRequested())

        inner = self.export("long give_up(void)", give_up)

        def call_again() -> int:
            return self.machine.call(function, (inner,))

        outer = self.export("long call_again(void)", call_again)
        self.platform.catch_unwind(self.machine.call, function, (outer,))
        assert self.cleaned_up() == [1, 2, 3, 1, 2, 3]
        answer = self.export("long answer(void)", lambda: 10)
        assert self.machine.call(function, (answer,)) == 16

    @needs(Capability.LANDING_PADS)
    @clause(Unwinding.unwind_resume, "None: nothing was to be run")
    def test_nothing_is_cleaned_up_where_a_call_returns(self) -> None:
        function = self.guest.address("outer_cleanup")
        answer = self.export("long answer(void)", lambda: 10)
        caught = self.platform.catch_unwind(self.machine.call, function, (answer,))
        assert caught.result == 16
        assert self.cleaned_up() == [1, 2, 3]  # as C does it where a function returns

    @needs(Capability.GUEST_EXCEPTIONS)
    @clause(
        Unwinding.unwind_continue,
        "Take up a guest's exception where the Python function that it passed through ends",
    )
    def test_an_exception_passes_through_python_to_the_guest_s_handler(self) -> None:
        throws = self.guest.address("throws")

        def call_what_throws() -> int:
            return self.machine.call(throws)

        callback = self.export("long call_what_throws(void)", call_what_throws)
        assert self.machine.call(self.guest.address("catching"), (callback,)) == 42

    @needs(Capability.GUEST_EXCEPTIONS)
    @clause(Unwinding.unwind_continue, "Raises GuestUnwinding to go on further out")
    def test_an_exception_goes_on_through_several_python_functions(self) -> None:
        throws, cleanup = self.guest.address("throws"), self.guest.address("outer_cleanup")
        inner = self.export("long inner(void)", lambda: self.machine.call(throws))
        outer = self.export("long outer(void)", lambda: self.machine.call(cleanup, (inner,)))
        assert self.machine.call(self.guest.address("catching"), (outer,)) == 42
        assert self.cleaned_up() == [1, 2, 3]


def stack_words(stack: AddressRange) -> range:
    return range(stack.start, stack.end, 8)


TRAPPING = """
(module
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "trap") unreachable))
"""
CALLING = """
(module
  (import "" "" (func $host))
  (func $inner (call $host))
  (func (export "outer") (call $inner)))
"""
