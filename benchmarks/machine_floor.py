"""What the emulated machine adds to bare Unicorn, as ratios measured in one run.

Run: ``python benchmarks/machine_floor.py`` (half a minute). Each figure is the median of rounds in
which both sides take turns; on a shared computer the ratios hold better than the microseconds.

Bare Unicorn here is the fastest that its public interface allows: raw ctypes instead of the
binding's wrappers, no hook over memory, and the virtual TLB, whose entries it fills with either
write or execute permission. (In its default mode every page that may be written may be executed
too as far as the TLB is concerned, and stores are four times slower.)
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from theseus_kit.machine import create_machine
from theseus_kit.machine.emulated import EmulatedMachine
from theseus_kit.machine.emulated import library as uc
from theseus_kit.values.exceptions import ExceptionContext
from theseus_kit.values.memory import AddressRange, Protection

Action = Callable[[], object]

ROUNDS = 9
BASE = 0x10_0000
DATA = BASE + 0x10_0000
STACK = BASE + 0x30_0000

# rdi: how often; rsi: a function.  push rbx; push rbp; mov rbx, rdi; mov rbp, rsi;
# again: call rbp; dec rbx; jne again; pop rbp; pop rbx; ret
CALL_OFTEN = bytes.fromhex("53 55 4889fb 4889f5 ffd5 48ffcb 75f9 5d 5b c3")
OUT = bytes.fromhex("e610 c3")  # out 0x10, al; ret
RETURN = b"\xc3"
HALT = b"\xf4"
INVALID = bytes.fromhex("0f0b c3")  # ud2; ret
LOAD_FROM_ZERO = bytes.fromhex("488b042500000000 c3")  # mov rax, [0]; ret
SYSTEM_CALL = bytes.fromhex("b827000000 0f05 c3")  # mov eax, 39; syscall; ret

# fib: mov rax, rdi; cmp rdi, 2; jb done; push rdi; dec rdi; call fib; pop rdi; push rax;
# sub rdi, 2; call fib; pop rcx; add rax, rcx; done: ret
FIBONACCI = bytes.fromhex(
    "4889f8 4883ff02 7218 57 48ffcf e8eeffffff 5f 50 4883ef02 e8e3ffffff 59 4801c8 c3"
)
# sieve(rdi: bytes, rsi: size): fill with ones, strike the multiples of each i with i*i < size.
# mov rdx, rdi; mov rcx, rsi; mov al, 1; rep stosb; mov r8d, 2
# outer: mov rax, r8; imul rax, r8; cmp rax, rsi; jae done
# inner: mov byte [rdx+rax], 0; add rax, r8; cmp rax, rsi; jb inner; inc r8; jmp outer; done: ret
SIEVE = bytes.fromhex(
    "4889fa 4889f1 b001 f3aa 41b802000000 4c89c0 490fafc0 4839f0 7311"
    "c6040200 4c01c0 4839f0 72f4 49ffc0 ebe3 c3"
)


class TlbEntry(ctypes.Structure):
    """struct uc_tlb_entry of unicorn.h."""

    _fields_ = (("address", ctypes.c_uint64), ("permissions", ctypes.c_int))


class Bare:
    """Unicorn and nothing else: 1 MiB of code, 2 MiB of data and stack."""

    def __init__(self) -> None:
        self.library = library = uc.Library()
        self.handle = ctypes.c_void_p()
        library.open(uc.ARCH_X86, uc.MODE_64, ctypes.byref(self.handle))
        self.memory = (ctypes.c_uint8 * (4 << 20))()
        offset = -ctypes.addressof(self.memory) % 4096
        self.host = ctypes.addressof(self.memory) + offset
        library.mem_map_ptr(self.handle, BASE, DATA - BASE, 5, self.host)
        library.mem_map_ptr(self.handle, DATA, STACK - DATA, 3, self.host + DATA - BASE)
        self.next = 0x1000
        tlb = ctypes.c_uint(uc.CTL_TLB_TYPE)
        library.ctl(self.handle, tlb, ctypes.c_int(uc.TLB_VIRTUAL))
        prototype = ctypes.CFUNCTYPE(
            *(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int),
            ctypes.POINTER(TlbEntry),
        )
        self.fill = prototype(self._fill)
        hook = ctypes.c_size_t()
        library.hook_add(
            *(self.handle, ctypes.byref(hook), ctypes.c_int(uc.HOOK_TLB_FILL), self.fill, None),
            *(ctypes.c_uint64(1), ctypes.c_uint64(0)),
        )

    @staticmethod
    def _fill(engine: int, address: int, kind: int, entry: Any) -> bool:
        entry[0].address = address
        entry[0].permissions = 5 if address < DATA else 3
        return True

    def place(self, code: bytes) -> int:
        address = self.next
        ctypes.memmove(self.host + address, code, len(code))
        self.next += 0x1000
        return BASE + address

    def hook_out(self, callback: object) -> None:
        hook = ctypes.c_size_t()
        self.library.hook_add(
            *(self.handle, ctypes.byref(hook), ctypes.c_int(uc.HOOK_INSN), callback, None),
            *(ctypes.c_uint64(1), ctypes.c_uint64(0), ctypes.c_int(uc.INS_OUT)),
        )

    def call(self, address: int, *arguments: int) -> int:
        """Run a function to a ``hlt`` that its return address points at."""
        value = ctypes.c_uint64()
        for register, argument in zip((uc.REG_RDI, uc.REG_RSI), arguments, strict=False):
            value.value = argument
            self.library.reg_write(self.handle, register, ctypes.byref(value))
        value.value = STACK - 8
        self.library.reg_write(self.handle, uc.REG_RSP, ctypes.byref(value))
        ctypes.c_uint64.from_address(self.host + STACK - 8 - BASE).value = BASE + 0xFF0
        ctypes.memmove(self.host + 0xFF0, HALT, 1)
        self.library.emu_start(self.handle, address, 0, 0, 0)
        self.library.reg_read(self.handle, uc.REG_RAX, ctypes.byref(value))
        return value.value


def machine_with_a_stack() -> EmulatedMachine:
    machine = create_machine("emulated", {})
    assert isinstance(machine, EmulatedMachine)
    start = machine.memory.territory.start
    machine.memory.map(start, 2 << 20, Protection.READ_WRITE)
    machine.select_thread(machine.create_thread(AddressRange.of_size(start, 1 << 20)))
    return machine


def microseconds(action: Action, repetitions: int) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) / repetitions * 1e6


def repeat(action: Action, count: int) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(count):
            action()

    return repeated


def compare(what: str, ours: Action, bare: Action, count: int) -> None:
    ours()
    bare()
    pairs = [(microseconds(ours, count), microseconds(bare, count)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    mine, floor = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{what:44} {mine:12.2f} µs   bare {floor:12.2f} µs   ratio {ratio:5.2f}")


def measure(what: str, action: Action, count: int) -> None:
    action()
    figure = statistics.median(microseconds(action, count) for _ in range(ROUNDS))
    print(f"{what:44} {figure:12.2f} µs")


def main() -> None:
    begin = time.perf_counter()
    machine = machine_with_a_stack()
    print(
        f"{'making a machine, libunicorn loaded':44} {(time.perf_counter() - begin) * 1e3:12.2f} ms"
    )
    bare = Bare()
    out = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
    nothing = out(lambda engine, port, size, value: None)
    bare.hook_out(nothing)
    often = machine.place_code(CALL_OFTEN)
    bare_often, bare_out = bare.place(CALL_OFTEN), bare.place(OUT)
    count = 50_000

    def calls_of(function: Callable[..., int], arity: int, *, reenters: bool = False) -> Action:
        export = machine.export(function, arity, reenters=reenters)
        return lambda: machine.call(often, (count, export))

    floor = lambda: bare.call(bare_often, count, bare_out)  # noqa: E731
    compare("export, no argument / out hook", calls_of(lambda: 0, 0), floor, count)
    compare("export, three arguments / out hook", calls_of(lambda a, b, c: 0, 3), floor, count)
    compare("export that re-enters / out hook", calls_of(lambda: 0, 0, reenters=True), floor, count)

    empty = machine.place_code(RETURN)
    halt = bare.place(HALT)
    start, handle = bare.library.emu_start, bare.handle.value
    enter = repeat(lambda: start(handle, halt, 0, 0, 0), count)
    compare(
        "prepared call / uc_emu_start", repeat(machine.prepare_call(empty, ()), count), enter, count
    )
    compare("call / uc_emu_start", repeat(lambda: machine.call(empty), count), enter, count)

    fibonacci, bare_fibonacci = machine.place_code(FIBONACCI), bare.place(FIBONACCI)
    assert machine.call(fibonacci, (20,)) == bare.call(bare_fibonacci, 20) == 6765
    compare(
        "fib(30) / same code",
        lambda: machine.call(fibonacci, (30,)),
        lambda: bare.call(bare_fibonacci, 30),
        1,
    )
    sieve, bare_sieve = machine.place_code(SIEVE), bare.place(SIEVE)
    area = machine.memory.territory.start + (1 << 20)
    compare(
        "sieve of 900,000 / same code",
        lambda: machine.call(sieve, (area, 900_000)),
        lambda: bare.call(bare_sieve, DATA, 900_000),
        1,
    )

    count = 5000

    def skip(length: int) -> Callable[[ExceptionContext], None]:
        def handler(context: ExceptionContext) -> None:
            context.registers.rip += length

        return handler

    for what, code, length in (
        ("page fault, handled and resumed", LOAD_FROM_ZERO, 8),
        ("invalid opcode, handled and resumed", INVALID, 2),
        ("system call", SYSTEM_CALL, 0),
    ):
        machine.set_handlers(skip(length), lambda *_: 0)
        function = machine.place_code(code)
        measure(what, partial(machine.call, often, (count, function)), count)
    machine.close()


if __name__ == "__main__":
    main()
