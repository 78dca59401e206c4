"""signal.h: waiting for signals, and other waits with another mask meanwhile.

A handler that ends a wait runs with the mask of that wait, which is then as it was before, as
kernel/signal.c of Linux has it (set_user_sigmask, restore_saved_sigmask). Sources: sigsuspend(2),
pause(2), sigtimedwait(2), ppoll(2).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeAlias

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.task import WaitQueue
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function, system_call
from theseus_kit_tlibc.parking import read_timespec
from theseus_kit_tlibc.signal_tasks import UNBLOCKABLE

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.signal import Signal
    from theseus_kit_tlibc.signal_frame import Cause
    from theseus_kit_tlibc.signal_send import SignalSending

# siginfo_t: signo, errno, code; of a signal that was sent: pid and uid, in place of si_addr.
_SIGINFO = Struct("<iii4xQ104x")


Masked: TypeAlias = Callable[[int], AbstractContextManager[None]]
"""See :meth:`SignalWaiting.masked`."""


class SignalWaiting(Header):
    header: ClassVar[str] = "signal.h"

    def __init__(self, library: Library, signal: Signal, sending: SignalSending) -> None:
        super().__init__(library)
        self._signal = signal
        self._sending = sending

    @contextmanager
    def masked(self, sigmask: int) -> Iterator[None]:
        """Wait with the mask at an address, of 64 signals; with one's own if that is 0.

        A signal that it lets through ends a wait inside with PlatformError (EINTR), even one that
        waited before; its handler has run then. Raises MemoryFaultError.
        """
        if not sigmask:
            yield
            return
        task = self.library.task
        signals = self._signal.signals_of(task)
        own, signals.mask = signals.mask, self.library.memory.read_u64(sigmask) & ~UNBLOCKABLE
        task.has_signal = self._sending.has_handler(signals.unblocked)
        goes_on = False
        try:
            yield
            goes_on = True
        except PlatformError as error:
            goes_on = True
            if error.errno == errno.EINTR:
                self._sending.handle()
            raise
        finally:
            signals.mask, task.has_signal = own, False
            if goes_on:
                self._sending.handle()  # what the mask of the wait has held back

    @c_function("int pause(void)", system_call=34, on_error=MINUS_ONE, blocks=True)
    def pause(self) -> NoReturn:
        queue = WaitQueue("a signal")
        while True:
            try:
                self.library.services.tasks.wait(queue)
            except PlatformError as error:
                handles = self._sending.has_handler(self._signals_unblocked())
                if error.errno != errno.EINTR or handles or self.library.task.is_cancelled:
                    raise
                self._sending.handle()

    @c_function("int sigsuspend(const sigset_t *mask)", on_error=MINUS_ONE, blocks=True)
    def sigsuspend(self, mask: int) -> NoReturn:
        self.library.memory.read_u64(mask)
        with self.masked(mask):
            self.pause()

    @system_call(130, "int rt_sigsuspend(const sigset_t *unewset, size_t sigsetsize)", blocks=True)
    def rt_sigsuspend(self, unewset: int, sigsetsize: int) -> NoReturn:
        _check_size(sigsetsize)
        self.sigsuspend(unewset)

    @c_function("int sigwait(const sigset_t *set, int *sig)", on_error=RESULT, blocks=True)
    def sigwait(self, sigset: int, sig: int) -> int:
        while True:
            try:
                self.library.memory.write_u32(sig, self._wait_for(sigset, None).signal)
            except PlatformError as error:
                if error.errno != errno.EINTR:
                    raise
                self.library.services.tasks.interrupted()
            else:
                return 0

    @c_function(
        "int sigwaitinfo(const sigset_t *set, siginfo_t *info)", on_error=MINUS_ONE, blocks=True
    )
    def sigwaitinfo(self, sigset: int, info: int) -> int:
        return self.sigtimedwait(sigset, info, 0)

    @c_function(
        "int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)",
        on_error=MINUS_ONE,
        blocks=True,
    )
    def sigtimedwait(self, sigset: int, info: int, timeout: int) -> int:
        timeout_ns = read_timespec(self.library.memory, timeout) if timeout else None
        cause = self._wait_for(sigset, timeout_ns)
        if info:
            self.library.memory.write(info, _SIGINFO.pack(cause.signal, 0, cause.code, cause.value))
        return cause.signal

    @system_call(
        128,
        "int rt_sigtimedwait(const sigset_t *set, siginfo_t *info, "
        "const struct timespec *timeout, size_t sigsetsize)",
        blocks=True,
    )
    def rt_sigtimedwait(self, sigset: int, info: int, timeout: int, sigsetsize: int) -> int:
        _check_size(sigsetsize)
        return self.sigtimedwait(sigset, info, timeout)

    def _wait_for(self, sigset: int, timeout_ns: int | None) -> Cause:
        """Take a signal of a set, waiting for one. Raises EAGAIN where none came in time, EINTR."""
        chosen = self.library.memory.read_u64(sigset) & ~UNBLOCKABLE
        tasks, task = self.library.services.tasks, self.library.task
        signals = self._signal.signals_of(task)
        queue = WaitQueue("a signal")
        while (cause := signals.take(chosen)) is None:
            signals.waits_for = chosen
            try:
                if not tasks.wait(queue, timeout_ns):
                    raise PlatformError("no signal came in time", errno.EAGAIN)
            except PlatformError:
                task.has_signal = False
                cause = signals.take(chosen)
                if cause is None:
                    raise
                return cause
            finally:
                signals.waits_for = 0
        return cause

    def _signals_unblocked(self) -> int:
        return self._signal.signals_of(self.library.task).unblocked


def _check_size(sigsetsize: int) -> None:
    if sigsetsize != 8:
        raise InvalidParameterError(f"signal sets of {sigsetsize} bytes")
