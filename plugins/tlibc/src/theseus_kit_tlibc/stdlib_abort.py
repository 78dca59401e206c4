"""abort(3): a handler of SIGABRT is asked first, and the program ends if it returns.

The handler may leave by longjmp, so nothing of abort() waits in Python while it runs. Its entry is
the machine code of the functions that send signals (:mod:`.signal_send`), and its body has the
guest go on as if the caller had called ``__abort`` instead, which kills; or in the handler, which
then returns to that same call::

    abort()
      └─ SELF_SIGNAL: registers → block
           └─ __abort_signal(…, block): rip = __abort, rsp = abort's own
                no handler                → __abort, called from where abort was
                a handler → SIGNAL_ENTRY → handler → SIGNAL_RETURN → the same

Source: abort of glibc 2.36 (stdlib/abort.c): unblock SIGABRT, raise it, and if that returns reset
it to SIG_DFL and raise it again. Its function asks the handler anew each time abort is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NoReturn

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import ExceptionContext, Panicked
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit_tlibc.declare import Header, c_function
from theseus_kit_tlibc.signal import SIG_DFL, SIG_IGN
from theseus_kit_tlibc.signal_frame import Cause
from theseus_kit_tlibc.signal_send import (
    BELOW_BLOCK,
    DELIVER,
    SELF_SIGNAL,
    SI_TKILL,
    read_block,
)
from theseus_kit_tlibc.unistd_process import PROCESS_ID, USER_ID

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.signal import Signal

SIGABRT = 6
_RETURN_SIZE = 8


class Abort(Header):
    header: ClassVar[str] = "stdlib.h"

    def __init__(self, library: Library, signal: Signal) -> None:
        super().__init__(library)
        self._signal = signal

    def symbols(self) -> Iterable[CFunction | CObject]:
        yield from super().symbols()
        yield CFunction(
            "void abort(void)",
            self.abort,
            self.header,
            machine_code=lambda: SELF_SIGNAL.with_address(self.library.provided("__abort_signal")),
            machine_code_only=True,
            assembly=SELF_SIGNAL.text,
        )

    # It re-enters: the first signal of all asks the CPU what state it has.
    @c_function(
        "int __abort_signal(long unused, long unused2, long unused3, void *block)", reenters=True
    )
    def abort_signal(self, unused: int, unused2: int, unused3: int, block: int) -> int:
        """Say where the guest goes on: in the handler of SIGABRT, or in what kills it."""
        library = self.library
        signals = self._signal.signals_of(library.task)
        signals.mask &= ~(1 << (SIGABRT - 1))
        registers = read_block(library.memory, block)
        registers.rip = library.provided("__abort")
        registers.rsp -= _RETURN_SIZE
        if self._signal.action(SIGABRT).handler not in (SIG_DFL, SIG_IGN):
            cause = Cause(SIGABRT, SI_TKILL, False, PROCESS_ID | USER_ID << 32)
            # Without room for its frame the handler is not asked: the end is the same.
            context = ExceptionContext(0, registers)
            self._signal.enter(cause, context, block - BELOW_BLOCK, signals)
        library.memory.write(block, bytes(registers))
        return DELIVER

    @c_function("void __abort(void)", reenters=True)  # for the destructors that a kill may run
    def abort(self) -> NoReturn:
        said = self.library.files.last_words.decode(errors="replace").strip()
        raise GuestKilled(
            Panicked(f"abort() called; it said: {said}" if said else "abort() called")
        )
