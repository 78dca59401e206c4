"""Bounding a program's run: fuel, the engine's epoch, wall clock, memory.

Wasmtime counts fuel and memory by itself. Time needs somebody outside of the guest: a thread that
waits and then moves the engine's epoch on, or interrupts the machine.

The epoch is a counter in the engine that compiled code compares with its store's deadline. C
functions of the guest cannot be called from another thread while the guest runs, but guest memory
is host memory at the same address: the thread adds to the counter itself. Where the counter lies is
found by watching what ``wasmtime_engine_increment_epoch`` changes.

    wasm_engine_t                 EngineInner, on the guest's heap
    ┌─────────┐     ┌───────────────────────────┬─────────────┬────────┐
    │ pointer ├────>│ …                         │ epoch (u64) │ …      │
    └─────────┘     └───────────────────────────┴─────────────┴────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ctypes import addressof, c_uint64
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import GuestInterrupted, LimitReachedError, MachineError, MemoryFaultError
from theseus_kit.values.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.values.programs import Limits

_SPAN = 2 * PAGE_SIZE
"""Bytes of the engine that are searched for the epoch; it lies at 0x4d8 in Wasmtime 50."""
_PERIOD = 0.05
"""Seconds between interrupts: one that finds the guest waiting in Python is forgotten."""


def engine_settings(limits: Limits) -> dict[str, bool]:
    """Return the properties of ``Config`` that limits need: compiled code checks them itself."""
    settings = {}
    if limits.fuel is not None:
        settings["consume_fuel"] = True
    if limits.epoch_timeout is not None:
        settings["epoch_interruption"] = True
    return settings


class LimitedRun:
    """Puts limits on a store, and on what runs in it.

    ``interrupt`` stops the machine's guest code, from any thread.
    """

    def __init__(
        self, machine: Machine, api: Any, limits: Limits, interrupt: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._api = api
        self._limits = limits
        self._interrupt = interrupt

    def prepare(self, store: Any) -> None:
        """Set what Wasmtime counts by itself."""
        limits = self._limits
        if limits.fuel is not None:
            store.set_fuel(limits.fuel)
        if limits.memory is not None:
            store.set_limits(memory_size=limits.memory)
        if limits.epoch_timeout is not None:
            store.set_epoch_deadline(1)

    @contextmanager
    def running(self, store: Any) -> Iterator[None]:
        """While the context is open, time counts; LimitReachedError for what went too far."""
        limits, api = self._limits, self._api
        with ExitStack() as timers:
            if limits.epoch_timeout is not None:
                counter = c_uint64.from_address(find_epoch(self._machine, store.engine))
                store.set_epoch_deadline(1)
                timers.enter_context(_after(limits.epoch_timeout, lambda: _advance(counter)))
            end = None
            if limits.timeout is not None:
                end = timers.enter_context(_after(limits.timeout, self._interrupt, repeatedly=True))
            try:
                yield
            except api.Trap as trap:
                reached = _limit_of(trap, api.TrapCode, limits)
                if reached is None:
                    raise
                raise reached from trap
            except GuestInterrupted as error:
                if end is None or not end.is_set():
                    raise
                raise LimitReachedError(
                    "timeout", f"the program ran longer than {limits.timeout:g} seconds"
                ) from error


def _limit_of(trap: Any, codes: Any, limits: Limits) -> LimitReachedError | None:
    code = trap.trap_code
    if code is codes.OUT_OF_FUEL and limits.fuel is not None:
        return LimitReachedError("fuel", f"the program used up its {limits.fuel} units of fuel")
    if code is codes.INTERRUPT and limits.epoch_timeout is not None:
        return LimitReachedError(
            "epoch_timeout",
            f"the program ran longer than {limits.epoch_timeout:g} seconds (epoch)",
        )
    return None


@contextmanager
def _after(seconds: float, act: Callable[[], None], *, repeatedly: bool = False) -> Iterator[Event]:
    """Act on another thread once the time is over; the event given says that it is.

    Repeatedly, until the context closes. No act is under way once it has.
    """
    done, over = Event(), Event()

    def wait() -> None:
        if done.wait(seconds):
            return
        over.set()
        act()
        while repeatedly and not done.wait(_PERIOD):
            act()

    thread = Thread(target=wait, name="theseus-kit limit", daemon=True)
    thread.start()
    try:
        yield over
    finally:
        done.set()
        thread.join()


def _advance(counter: c_uint64) -> None:
    # Not atomic, and need not be: while a program runs nobody else writes it.
    counter.value += 1


def find_epoch(machine: Machine, engine: Any) -> int:
    """Return the address of an engine's epoch. Moves it on by two. Raises MachineError."""
    inner = machine.memory.read_u64(addressof(engine.ptr().contents))
    states = [_words(machine, inner)]
    for _ in range(2):
        engine.increment_epoch()
        states.append(_words(machine, inner))
    found = [
        index
        for index, (first, second, third) in enumerate(zip(*states, strict=True))
        if (second - first, third - second) == (1, 1)
    ]
    if len(found) != 1:
        raise MachineError("the epoch of this version's engine cannot be found: use a timeout")
    return inner + 8 * found[0]


def _words(machine: Machine, address: int) -> tuple[int, ...]:
    """The 64-bit words from an address on, to the end of what is searched or of the heap."""
    size = _SPAN
    try:
        content = machine.memory.read(address, size)
    except MemoryFaultError:
        size = PAGE_SIZE - address % PAGE_SIZE
        content = machine.memory.read(address, size)
    return tuple(memoryview(content[: size // 8 * 8]).cast("Q"))
