"""What a machine is: an x86-64 CPU and its address space, nothing above it.

Everything above this folder is written against these protocols and never asks which machine it
runs on; where behaviour must differ it asks for an :class:`Ability`. The machine knows nothing of
ELF, of C or of Wasmtime.

Guest memory is host memory at the same address on every machine: an address that comes from the
guest can be read in place (through :attr:`Memory.view`). The reverse does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from typing import Final, Protocol, TypeAlias

from theseus_kit.errors import MachineError
from theseus_kit.machine.direct import DirectCall, DirectMapping
from theseus_kit.machine.placed_code import PlacedCode
from theseus_kit.values.exceptions import ExceptionContext, Registers
from theseus_kit.values.memory import AddressRange, Protection
from theseus_kit.values.record import NamedTuple


class Ability(Enum):
    """What a machine can do that another may not."""

    PRECISE_FAULTS = "precise-faults"
    """A faulting instruction has had no effect, and the exact faulting address is known."""
    EDIT_REGISTERS = "edit-registers"
    """A handler's changes of the registers are what the guest resumes with."""
    THREAD_POINTER = "thread-pointer"
    """Each guest thread has an FS base of its own."""
    ISOLATION = "isolation"
    """Guest code cannot touch host memory outside the guest's territory."""
    INTERRUPT_ANYWHERE = "interrupt-anywhere"
    """Guest code can be stopped at any of its instructions."""
    HOST_FUNCTIONS = "host-functions"
    """Guest code can call the host's own C functions directly."""


PreemptionCallback: TypeAlias = Callable[[], None]
"""Returning resumes the guest where it was stopped; raising ends the innermost call()."""

HostFunction: TypeAlias = Callable[..., int | None]
"""Takes unsigned 64-bit ints, returns an int (cut to 64 bits; None is 0)."""

ExceptionCallback: TypeAlias = Callable[[ExceptionContext], None]
"""Returning resumes the guest at the context's registers; raising ends the innermost call()."""

SystemCallCallback: TypeAlias = Callable[[int, int, int, int, int, int, int], int]
"""number, then the six argument registers, unsigned; returns rax."""


REENTRANT_SYSTEM_CALLS: Final = 512
"""Numbers below this may be re-entrant: more than Linux has for x86-64."""


def require_system_call_numbers(numbers: Collection[int]) -> frozenset[int]:
    """The numbers as a set. Raises MachineError for one that cannot be re-entrant."""
    for number in numbers:
        if not 0 <= number < REENTRANT_SYSTEM_CALLS:
            raise MachineError(f"system call {number} cannot be declared as re-entrant")
    return frozenset(numbers)


class Waiting(NamedTuple):
    """Guest code that waits for Python, as it stood when it gave up control."""

    registers: Registers
    """Inside an export: as at its entry, rip being the return address."""
    is_exact: bool
    """rip is the very instruction, as at an exception."""
    export: int | None
    """The address of the export it called, None at an exception or a system call."""
    name: str = ""
    """The name the export was given."""


class Memory(Protocol):
    """The address space. Ranges are whole pages; the caller keeps account of what is mapped."""

    @property
    def territory(self) -> AddressRange:
        """The addresses that guest mappings may use. Never overlaps another machine's."""
        ...

    @property
    def view(self) -> memoryview:
        """All of memory as bytes, indexed by address. Unchecked: reading what the host has not
        mapped ends the process. For hot paths, after :meth:`check`."""
        ...

    @property
    def direct_mapping(self) -> DirectMapping | None:
        """How guest code may map memory by itself; None on a machine where it cannot."""
        ...

    def map(self, address: int, size: int, protection: Protection) -> None:
        """Map zero pages over whatever was there; costs nothing until they are touched."""
        ...

    def map_file(
        self, address: int, size: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        """Map a host file's pages privately (copy on write); bytes past its end are zero."""
        ...

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the protection of mapped pages; exact from the guest's next access on."""
        ...

    def unmap(self, address: int, size: int) -> None:
        """Make the pages fault again and give their host memory back."""
        ...

    def discard(self, address: int, size: int) -> None:
        """Make the pages read as zero, or as their file; give their host memory back."""
        ...

    def check(self, address: int, size: int, protection: Protection) -> None:
        """Raise MemoryFaultError, naming the first address, unless all pages allow it."""
        ...

    def window(self, address: int, size: int, *, writable: bool) -> memoryview:
        """The bytes themselves, for the host to read, or to fill before guest code runs again.

        Raises MemoryFaultError where the guest could not read, or write.
        """
        ...

    def read(self, address: int, size: int) -> bytes:
        """Copy bytes out. Raises MemoryFaultError where the guest could not read."""
        ...

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes in. Raises MemoryFaultError where the guest could not write."""
        ...

    def read_string(self, address: int, limit: int = 1 << 20) -> bytes:
        """Read up to, and without, the terminating zero byte. Raises MemoryFaultError, or
        InvalidParameterError if there is none within ``limit`` bytes."""
        ...

    def read_u64(self, address: int) -> int: ...
    def write_u64(self, address: int, value: int) -> None: ...
    def read_u32(self, address: int) -> int: ...
    def write_u32(self, address: int, value: int) -> None: ...


class Thread(Protocol):
    """The machine's side of a task: what must be kept while another task runs."""

    @property
    def stack(self) -> AddressRange: ...

    fs_base: int


class Machine(Protocol):
    """A CPU. One host thread at a time may use it; :meth:`interrupt` and :meth:`preempt` alone may
    come from others.

    *At rest* is Python wherever it may call guest code: outside of any call, inside an export that
    re-enters, a re-entrant system call, an exception handler or a preemption callback, however
    deep. There it may also go over to another guest thread, whose calls in progress then go on
    while those of the first wait. Python's frames of the waiting calls must wait too, so each
    guest thread's Python runs in a greenlet of its own (or whatever else keeps the C stack)::

        greenlet 1: call ► guest ► export ► select_thread(2), switch … ► return ► guest ► return
                                             │                       ▲
                                             ▼                       │
        greenlet 2:                         call ► guest ► export ► select_thread(1), switch …
    """

    @property
    def name(self) -> str: ...

    @property
    def details(self) -> str:
        """One line for reports: the CPU model, the mechanisms in use."""
        ...

    @property
    def abilities(self) -> frozenset[Ability]: ...

    @property
    def memory(self) -> Memory: ...

    @property
    def cpu_features(self) -> frozenset[str]:
        """The instruction sets beyond SSE2 that compiled code may use, as Cranelift names them:
        ``has_sse3 has_ssse3 has_sse41 has_sse42 has_popcnt has_lzcnt has_bmi1 has_bmi2 …``."""
        ...

    @property
    def can_call(self) -> bool:
        """Guest code may be called now. False once closed, and inside a system call or an export
        that does not re-enter: what would call the guest then (a finaliser) must wait."""
        ...

    is_closed: bool
    """Nothing of the guest is there any more. A plain attribute: whoever writes to guest memory by
    address looks at it before every call."""

    def set_handlers(
        self,
        exception: ExceptionCallback,
        system_call: SystemCallCallback,
        reentrant_system_calls: Collection[int] = frozenset(),
    ) -> None:
        """Say what answers CPU exceptions and ``syscall`` instructions.

        The system calls with the numbers ``reentrant_system_calls`` (0 to 511) are answered at
        rest, which costs more; the others must not call guest code.
        """
        ...

    def set_preemption(self, callback: PreemptionCallback | None) -> None:
        """Say what :meth:`preempt` has run; None: nothing."""
        ...

    def preempt(self) -> None:
        """Have the guest code that runs stop between two of its instructions, and the callback
        of :meth:`set_preemption` run there, at rest. From any host thread.

        While Python holds control the request waits until guest code goes on, of whichever
        thread. Requests that nobody has answered yet are one. No effect where no call is in
        progress on the selected thread.
        """
        ...

    @property
    def thread_pointer_cell(self) -> int | None:
        """Where machine code finds the selected thread's ``fs_base`` in memory, on a machine
        without :attr:`Ability.THREAD_POINTER`; None on one whose ``fs:`` is the guest's."""
        ...

    @property
    def rewrite_system_calls(self) -> Callable[[Iterable[int]], None] | None:
        """What must be told the address of every ``syscall`` instruction of an image before the
        image runs, on a machine that cannot catch them by itself; None on one that can."""
        ...

    def export(
        self, function: HostFunction, arity: int, *, reenters: bool = False, name: str = ""
    ) -> int:
        """Return an address that guest code can call to run ``function`` (System V ABI).

        ``function`` gets ``arity`` integers: the six argument registers, then stack words. One
        that was not declared as re-entering must not call guest code. An error it raises ends
        the innermost :meth:`call`, which raises it.
        """
        ...

    def replace_export(self, address: int, function: HostFunction, arity: int) -> None:
        """Give an export a new function: how a lazily bound import gets its real body."""
        ...

    def place_code(self, code: bytes, name: str = "") -> int:
        """Copy position-independent machine code into executable memory; return its address.

        It is entered at its first byte. With a name it is a function of the platform's, which
        traces show; without one it is a step between guest code and Python.
        """
        ...

    def create_thread(self, stack: AddressRange, fs_base: int = 0) -> Thread: ...

    def select_thread(self, thread: Thread) -> None:
        """Make a thread the one that :meth:`call` runs on, wherever Python is at rest.

        Calls in progress belong to the thread they were made on, with everything that is theirs:
        registers, vector and control registers, :meth:`registers`, :meth:`waiting`,
        :attr:`can_call`, :meth:`float_result`. Control that goes back into guest code selects the
        thread of that code by itself; an error that ends a call selects nothing.

        Each thread's calls return innermost first. Where one is to go on while a later call on the
        same thread still waits (its greenlet was switched to, but no thread was selected between),
        it raises MachineError, and so does everything on that thread from then on.

        A thread whose calls will never go on is given up by raising an error in its innermost
        Python frame (greenlet's ``throw``): its calls end one by one. That touches no other
        thread, and may happen where nothing is at rest, as when Python collects a greenlet.
        """
        ...

    def call(
        self,
        address: int,
        arguments: Sequence[int] = (),
        *,
        float_arguments: Sequence[float] = (),
        stack_pointer: int | None = None,
    ) -> int:
        """Call a guest function (System V ABI) and return its rax, unsigned.

        May be called from an export that re-enters and from an exception handler, to any depth:
        it then runs below the innermost guest frame (and its red zone). ``stack_pointer`` puts it
        on another stack, such as an alternate signal stack. Raises what an export or a handler
        raised, GuestInterrupted, MachineError.
        """
        ...

    def prepare_call(self, address: int, arguments: Sequence[int]) -> Callable[[], int]:
        """Return a function that makes this very call, again and again, as fast as can be."""
        ...

    def direct_call(self, address: int) -> DirectCall | None:
        """Return what calls a guest function without Python in between; None where nothing can.

        Where it does nothing :meth:`call` makes the call, if :attr:`can_call`, or says why not.
        """
        ...

    def float_result(self) -> float:
        """The low double of xmm0 as the last :meth:`call` left it."""
        ...

    def float_argument(self, index: int) -> float:
        """Inside an export: the low double of argument register xmm0…7."""
        ...

    def set_float_result(self, value: float) -> None:
        """Inside an export: give the caller a double in xmm0 (System V ABI, 3.2.3)."""
        ...

    def registers(self) -> Registers:
        """A copy of the innermost guest frame's registers, wherever Python holds control.

        Inside an export: as at its entry, rip being the return address and rsp the caller's after
        the return. Where no guest code is running: all zero.
        """
        ...

    @property
    def registers_are_exact(self) -> bool:
        """The rip of :meth:`registers` is the very instruction the guest stopped at, as at an
        exception, and not the address after a call or a system call."""
        ...

    def waiting(self, thread: Thread | None = None) -> Sequence[Waiting]:
        """Every call in progress on a thread (None: the selected one), innermost first, each
        where it waits.

        The first is what :meth:`registers` tells. Empty where it runs no guest code.
        """
        ...

    def is_own_code(self, address: int) -> bool:
        """Whether an address is the machine's own code: exports, what :meth:`place_code` placed,
        and what a guest function returns to that was called from Python."""
        ...

    def placed_code(self, address: int) -> PlacedCode | None:
        """What :meth:`place_code` placed at an address; None for all other code."""
        ...

    def interrupt(self) -> bool:
        """Make the running :meth:`call` raise GuestInterrupted. From any host thread.

        While Python holds control this waits until guest code goes on, of whichever thread, or
        until somebody asks :meth:`take_interrupt`. False, and no effect, where no call is in
        progress on the selected thread.
        """
        ...

    def take_interrupt(self) -> bool:
        """Whether an interrupt waits for guest code to go on; it waits no longer then.

        For Python that is going to wait itself, and raises GuestInterrupted in its place.
        """
        ...

    def idle(self) -> None:
        """Nothing is asked of the machine for a while; it may use the time.

        A hint that changes nothing but how fast the next call is.
        """
        ...

    def close(self) -> None:
        """Give everything back. Further calls raise MachineError; closing twice is nothing.

        Other threads may have calls in progress, the selected one may not: MachineError. Those
        calls never go on: what their Python frames return to is a MachineError, and an error
        raised in them ends them as ever.
        """
        ...
