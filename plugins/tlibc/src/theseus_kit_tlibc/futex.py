"""linux/futex.h: waiting on a word of memory. Source: man 2 futex.

Only the commands that lock nothing: the priority-inheriting ones answer ENOSYS. Private and shared
futexes are the same here, where there is one process.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.task import WaitQueue
from theseus_kit.values.linkage import DirectWay, SystemCall
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.parking import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    is_restarted,
    read_timespec,
    remaining_ns,
)

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP = 0, 1, 3, 4, 5
FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 9, 10
FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME = 128, 256
MATCH_ANY = 0xFFFF_FFFF
_COMMAND = ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)
_WORD = 0xFFFF_FFFF
_SHIFTED_OPERAND = 8
_ADDRESS = Struct("<Q")


class _Waiter(WaitQueue):
    """One task that waits; where it waits may change (FUTEX_REQUEUE)."""

    __slots__ = ("bitset",)

    def __init__(self, address: int, bitset: int) -> None:
        super().__init__("futex", address)
        self.bitset = bitset


class _Operation:
    """What FUTEX_WAKE_OP does to the second word, and asks of what it was."""

    def __init__(self, operator: int, comparison: int, operand: int, compared: int) -> None:
        self.operator = operator
        self.comparison = comparison
        self.operand = operand
        self.compared = compared

    def result(self, old: int) -> int:
        operand = self.operand
        results = (operand, old + operand, old | operand, old & ~operand, old ^ operand)
        if self.operator >= len(results):
            raise PlatformError(f"futex operator {self.operator}", errno.ENOSYS)
        return results[self.operator] & _WORD

    def holds(self, old: int) -> bool:
        signed = old - (1 << 32) if old >> 31 else old
        holding = (
            *(signed == self.compared, signed != self.compared, signed < self.compared),
            *(signed <= self.compared, signed > self.compared, signed >= self.compared),
        )
        if self.comparison >= len(holding):
            raise PlatformError(f"futex comparison {self.comparison}", errno.ENOSYS)
        return holding[self.comparison]


def _decoded(val3: int) -> _Operation:
    """FUTEX_OP(op, oparg, cmp, cmparg) as linux/futex.h packs it; both operands are signed."""

    def signed(bits: int) -> int:
        return bits - 0x1000 if bits & 0x800 else bits

    operator = val3 >> 28 & 0xF
    operand = signed(val3 >> 12 & 0xFFF)
    if operator & _SHIFTED_OPERAND:
        operand = 1 << (operand & 31)
    return _Operation(operator & 7, val3 >> 24 & 0xF, operand, signed(val3 & 0xFFF))


class Futex(Header):
    header: ClassVar[str] = "linux/futex.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._waiters: dict[int, list[_Waiter]] = {}
        """The tasks that wait, by address, in the order they came there."""

    @cached_property
    def way(self) -> int:
        """Where the address of ``__syscall_futex`` stands, 0 while the system call is needed."""
        cell = self.library.heap.allocate(_ADDRESS.size)
        self.library.memory.write(cell, bytes(_ADDRESS.size))
        return cell

    def system_calls(self) -> Iterable[SystemCall]:
        for call in super().system_calls():
            yield call._replace(direct=DirectWay(call.function.body, self._open_way))

    def _open_way(self) -> Callable[[], None]:
        """The system call is served here, and nobody watches: syscall() may do without it."""
        function = self.library.provided("__syscall_futex")
        self.library.memory.write(self.way, _ADDRESS.pack(function))
        return _nothing

    @c_function(
        "long __syscall_futex(uint32_t *uaddr, int futex_op, uint32_t val, "
        "const struct timespec *timeout, uint32_t *uaddr2, uint32_t val3)",
        on_error=MINUS_ONE,
        blocks=True,
    )
    def syscall_futex(
        self, uaddr: int, futex_op: int, val: int, timeout: int, uaddr2: int, val3: int
    ) -> int:
        """What syscall() jumps to for futex(2)."""
        return self.futex(uaddr, futex_op, val, timeout, uaddr2, val3)

    @system_call(
        202,
        "long futex(uint32_t *uaddr, int futex_op, uint32_t val, const struct timespec *timeout, "
        "uint32_t *uaddr2, uint32_t val3)",
        blocks=True,
    )
    def futex(
        self, uaddr: int, futex_op: int, val: int, timeout: int, uaddr2: int, val3: int
    ) -> int:
        command = futex_op & _COMMAND
        if uaddr % 4:
            raise InvalidParameterError(f"futex at {uaddr:#x}")
        if command == FUTEX_WAKE:
            return self._wake(uaddr, val, MATCH_ANY)
        if command == FUTEX_WAIT:
            duration = read_timespec(self.library.memory, timeout) if timeout else None
            return self._wait(uaddr, val, MATCH_ANY, duration)
        if command == FUTEX_WAIT_BITSET:
            return self._wait(uaddr, val, val3, self._until(timeout, futex_op))
        if command == FUTEX_WAKE_BITSET:
            return self._wake(uaddr, val, val3)
        if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
            expected = val3 if command == FUTEX_CMP_REQUEUE else None
            return self._requeue(uaddr, val, timeout & _WORD, uaddr2, expected)
        if command == FUTEX_WAKE_OP:
            return self._wake_op(uaddr, val, timeout & _WORD, uaddr2, _decoded(val3))
        raise PlatformError(f"futex command {command}", errno.ENOSYS)

    def _until(self, timeout: int, futex_op: int) -> int | None:
        """FUTEX_WAIT's time-out is relative, FUTEX_WAIT_BITSET's is absolute."""
        if not timeout:
            return None
        clockid = CLOCK_REALTIME if futex_op & FUTEX_CLOCK_REALTIME else CLOCK_MONOTONIC
        deadline = read_timespec(self.library.memory, timeout)
        return remaining_ns(self.library.services.clock, clockid, deadline)

    def _wait(self, address: int, expected: int, bitset: int, timeout_ns: int | None) -> int:
        if not bitset:
            raise InvalidParameterError("futex: no bit to wait for")
        if self.library.memory.read_u32(address) != expected:
            raise PlatformError("the word changed before the wait", errno.EAGAIN)
        waiter = _Waiter(address, bitset)
        others = self._waiters.get(address)
        if others is None:
            self._waiters[address] = [waiter]
        else:
            others.append(waiter)
        tasks = self.library.services.tasks
        try:
            if tasks.wait(waiter, timeout_ns):
                return 0
        except PlatformError as error:
            self._remove(waiter)
            # With a time it is not taken up again, whatever the handler wants (futex_wait of Linux:
            # ERESTART_RESTARTBLOCK).
            if timeout_ns is not None or not is_restarted(tasks, error):
                raise
            return self._wait(address, expected, bitset, None)
        finally:
            self._remove(waiter)
        raise PlatformError("no task woke this one", errno.ETIMEDOUT)

    def _remove(self, waiter: _Waiter) -> None:
        there = self._waiters.get(waiter.address)
        if there is not None and waiter in there:
            there.remove(waiter)
            if not there:
                del self._waiters[waiter.address]

    def _matching(self, address: int, bitset: int) -> Iterator[_Waiter]:
        """The tasks that wait at an address, first come first."""
        for waiter in list(self._waiters.get(address, ())):
            if waiter.bitset & bitset:
                yield waiter

    def _wake(self, address: int, count: int, bitset: int) -> int:
        """At least one is woken, if one waits: Linux takes a count of 0 so, and a negative one."""
        if not bitset:
            raise InvalidParameterError("futex: no bit to wake")
        waiters = self._waiters.get(address)
        if waiters is None:
            self.library.memory.read_u32(address)
            return 0
        if len(waiters) == 1 and waiters[0].bitset & bitset:
            del self._waiters[address]
            return waiters[0].wake()
        woken = 0
        most = count if count < 1 << 31 else 1
        for waiter in self._matching(address, bitset):
            self._remove(waiter)
            woken += waiter.wake()
            if woken >= most:
                break
        return woken

    def _requeue(self, first: int, wake: int, move: int, second: int, expected: int | None) -> int:
        """Wake some, and have others wait at another address, as if they had begun there."""
        memory = self.library.memory
        value = memory.read_u32(first)
        memory.read_u32(second)
        if second % 4 or wake >> 31 or move >> 31:
            raise InvalidParameterError(f"futex: requeue {move} to {second:#x}")
        if expected is not None and value != expected:
            raise PlatformError("the word changed before the requeue", errno.EAGAIN)
        done = 0
        for waiter in self._matching(first, MATCH_ANY):
            if done < wake:
                self._remove(waiter)
                waiter.wake()
            elif done < wake + move:
                self._remove(waiter)
                waiter.address = second
                self._waiters.setdefault(second, []).append(waiter)
            else:
                break
            done += 1
        return done

    def _wake_op(
        self, first: int, count: int, second_count: int, second: int, operation: _Operation
    ) -> int:
        memory = self.library.memory
        if second % 4:
            raise InvalidParameterError(f"futex at {second:#x}")
        old = memory.read_u32(second)
        holds = operation.holds(old)
        memory.write_u32(second, operation.result(old))
        woken = self._wake(first, count, MATCH_ANY)
        if holds:
            woken += self._wake(second, second_count, MATCH_ANY)
        return woken


def _nothing() -> None:
    """A call that comes by the system call nevertheless needs nothing done before it."""
