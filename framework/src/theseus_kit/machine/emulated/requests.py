"""What other host threads ask of the guest code that runs: to end, or to stop for a moment."""

from __future__ import annotations

from theseus_kit.errors import GuestInterrupted
from theseus_kit.machine.emulated.thread import IDLE, EmulatedThread
from theseus_kit.machine.protocol import PreemptionCallback


class Requests:
    """Keeps what was asked for until the guest is between two instructions, the CPU at rest."""

    __slots__ = ("_asked", "_interrupted", "_preempted", "any", "preemption")

    def __init__(self) -> None:
        self.any = False
        """Cheap to look at: there may be a request."""
        self.preemption: PreemptionCallback | None = None
        self._interrupted = False
        self._preempted = False
        self._asked: EmulatedThread | None = None
        """The thread that was selected when something was last asked."""

    def interrupt(self, thread: EmulatedThread) -> bool:
        """Ask the guest to end; False if nothing is in progress on the thread that is selected."""
        if thread.place == IDLE:
            return False
        self._asked = thread
        self._interrupted = self.any = True
        return True

    def preempt(self, thread: EmulatedThread) -> None:
        """Ask the guest to stop for a moment, under the same condition."""
        if thread.place != IDLE:
            self._asked = thread
            self._preempted = self.any = True

    def forget(self, thread: EmulatedThread) -> None:
        """Before an outermost call on a thread: drop what was meant for the one before it."""
        if self._asked is thread:
            self._interrupted = self._preempted = self.any = False

    def take_interrupt(self) -> bool:
        """Whether the guest was asked to end; it is no longer."""
        if not self._interrupted:
            return False
        self._interrupted, self.any = False, self._preempted
        return True

    def raise_interrupt(self) -> None:
        """Raise GuestInterrupted if that was asked for."""
        if self.take_interrupt():
            raise GuestInterrupted("guest code was interrupted")

    def answer(self) -> None:
        """Do what was asked, with Python at rest. Raises GuestInterrupted, or what the callback
        of a preemption raises."""
        self.any = False  # first: what is asked from now on is noted again
        self.raise_interrupt()
        if self._preempted:
            self._preempted = False
            callback = self.preemption
            if callback is not None:
                callback()
