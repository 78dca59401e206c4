"""A guest thread as the native machine sees it: a stack."""

from __future__ import annotations

from theseus_kit.values.memory import AddressRange


class NativeThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    def __init__(self, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame of this thread."""
        self.fs_base = fs_base
        """Kept for whoever asks. The CPU's own stays the host thread's: signals may interrupt
        guest code at any moment, and the host's handlers need theirs."""
