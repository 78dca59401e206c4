"""Calls of guest code: from which places they may be made, and where on the stack they go.

The common case is machine code's alone (:mod:`.code.entering`). What it refuses comes here: the
calling host thread is not ready yet, somebody put a signal handler in front, the arguments need
the stack, or the call may not be made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from threading import get_ident
from typing import Any

from theseus_kit.errors import MachineBusyError, MachineError
from theseus_kit.machine.native import layout
from theseus_kit.machine.native.context import CALLS, GUEST, THREAD, THREAD_POINTER, Context
from theseus_kit.machine.native.memory import NativeMemory
from theseus_kit.machine.native.process import ORDER_TEXT, Process
from theseus_kit.machine.native.thread import FRAME, FS_BASE, HOST_STACK, NativeThread
from theseus_kit.machine.native.threads import Claim
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import Protection

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTER_ARGUMENTS = 6
_RED_ZONE = 128
"""Bytes below rsp that a function may use without saying so (System V ABI, 3.2.2)."""
_RSP = 8 * Registers.NAMES.index("rsp")
_KIND = layout.FRAME_KIND // 8
_DOUBLE = Struct("<d")
_WORD = Struct("<Q")


class Calls:
    """The calls of one machine, on whichever of its guest threads is selected."""

    def __init__(
        self, process: Process, context: Context, memory: NativeMemory, nobody: int
    ) -> None:
        self._process = process
        self._context = context
        self._words = context.words
        self._memory = memory
        self._memory_words = memory.view.cast("Q")
        self._nobody = nobody
        """The record that is selected where no thread of the user's is."""
        self._claim: Claim | None = None
        """Of the host thread that uses the machine, to its record."""
        self.is_closed = False

    @property
    def kind(self) -> int | None:
        """Of the selected thread's innermost frame."""
        frame, record = self.frame, self._words[GUEST]
        return None if frame == record else self._word(frame + layout.FRAME_KIND)

    @property
    def frame(self) -> int:
        """The selected thread's innermost frame; its record where there is none."""
        return self._word(self._words[GUEST] + layout.GUEST_FRAME)

    @property
    def in_progress(self) -> bool:
        """Whether the selected thread has a call in progress."""
        return self._word(self._words[GUEST] + layout.GUEST_HOST_STACK) != 0

    @property
    def may_call(self) -> bool:
        """Whether Python is at rest, on the host thread that uses the machine."""
        words = self._words
        if not words[CALLS]:
            return True
        if not self._is_here:
            return False
        memory, record = self._memory_words, words[GUEST] >> 3
        if not memory[record + HOST_STACK]:
            return True
        frame = memory[record + FRAME] >> 3
        return frame != record and memory[frame + _KIND] >= layout.FIRST_KIND_AT_REST

    @property
    def _is_here(self) -> bool:
        """Whether it is the calling host thread that uses the machine."""
        return self._claim is not None and self._claim.owner == get_ident()

    @property
    def are_abandoned(self) -> bool:
        """Whether calls are in progress on a host thread that has ended: they never go on."""
        return self._words[CALLS] != 0 and self._claim is not None and not self._claim.owner

    def select(self, thread: NativeThread) -> None:
        """Make a thread the one that calls run on. Raises MachineError where that may not be."""
        if self.is_closed or not self.may_call:
            self.require_rest("select a thread")
        self._words[GUEST] = thread.address
        self._words[THREAD_POINTER] = thread.words[FS_BASE]

    def forget_thread(self) -> None:
        """The machine is closed: whose it was does not matter any more."""
        self._claim = None

    def require_open(self) -> None:
        if self.is_closed:
            raise MachineError("the machine is closed")

    def require_rest(self, what: str) -> None:
        """Raise MachineError where Python is not at rest."""
        self.require_open()
        if not self.may_call:
            if not self._is_here:
                raise MachineBusyError(f"cannot {what} while another thread runs guest code")
            raise MachineError(
                f"cannot {what} inside a system call or an export that does not re-enter"
            )

    def call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        """Make a call that machine code did not place. Raises MachineError where it may not be."""
        self.require_rest("call guest code")
        top = self._word(self._words[GUEST] + layout.GUEST_TOP)
        if not top and self._words[GUEST] != self._nobody:
            raise MachineError(ORDER_TEXT)
        if stack_pointer is None:
            if not top:
                raise MachineError("no thread is selected to call guest code on")
            stack_pointer = self._below_frame() if self.in_progress else top
        else:
            self._memory.check((stack_pointer & -16) - 8, 8, Protection.READ_WRITE)
        stack_pointer &= -16
        if len(arguments) > _REGISTER_ARGUMENTS:
            stack_pointer = self._push(arguments[_REGISTER_ARGUMENTS:], stack_pointer)
        words = list(arguments[:_REGISTER_ARGUMENTS])
        if float_arguments:
            words += [0] * (_REGISTER_ARGUMENTS - len(words))
            words += [_WORD.unpack(_DOUBLE.pack(value))[0] for value in float_arguments]
        return self._enter(address, stack_pointer, words)

    def prepare(self, address: int, values: tuple[int, ...], slow: Callable[[], int]) -> Any:
        """A builtin that makes a call; ``slow()`` makes it where machine code cannot place it."""
        if len(values) > _REGISTER_ARGUMENTS:
            return slow
        context = self._context
        return self._process.prepared.prepare(context.address, address, values, slow, context)

    def disturb(self) -> None:
        """Make guest code that runs look at what was asked of it."""
        self._process.threads.disturb(self._words[THREAD])

    def _push(self, arguments: Sequence[int], stack_pointer: int) -> int:
        words = [argument & _MASK for argument in arguments]
        stack_pointer = (stack_pointer - 8 * len(words)) & -16
        self._memory.write(stack_pointer, b"".join(map(_WORD.pack, words)))
        return stack_pointer

    def _enter(self, address: int, stack_pointer: int, words: Sequence[int]) -> int:
        """Enter guest code; make the calling thread ready for it where it is not."""
        enter, place = self._process.enter, self._context.address
        result: int | None = enter(place, address, stack_pointer, *words)
        if result is None:
            self._attach()
            result = enter(place, address, stack_pointer, *words)
            if result is None:
                raise MachineBusyError("the calling thread cannot be made ready for guest code")
        return result

    def _attach(self) -> None:
        """Make the machine the calling thread's. Raises MachineError while it is another's."""
        claim = self._process.attach()
        if self._words[CALLS] and claim is not self._claim:
            raise MachineBusyError("another thread is running code of this machine")
        self._words[THREAD] = claim.record
        self._claim = claim

    def _below_frame(self) -> int:
        """The top of the stack below the innermost guest frame."""
        return self._word(self.frame + _RSP) - _RED_ZONE

    def _word(self, address: int) -> int:
        return self._memory_words[address >> 3]
