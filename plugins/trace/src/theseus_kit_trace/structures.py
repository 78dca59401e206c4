"""C structures behind pointers, shown as strace shows them: ``{tv_sec=1, tv_nsec=500000000}``.

Layouts are those of x86-64 Linux. Whoever passes which is :mod:`theseus_kit_trace.arguments`'s
business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from theseus_kit_trace import names
from theseus_kit_trace.guest_memory import Reader

Structure = Callable[[Reader, int], str]
"""Shows what is at an address."""

_SHOWN_ELEMENTS = 8
"""Elements of an array that are shown; behind them stands ``...``."""


def _structure(layout: str, show: Callable[..., str]) -> Structure:
    packed = struct.Struct(layout)

    def shown(reader: Reader, address: int) -> str:
        if not address:
            return "NULL"
        data = reader.peek(address, packed.size)
        if data is None or len(data) < packed.size:
            return f"{address:#x}"
        return show(*packed.unpack(data))

    return shown


timespec = _structure("<qq", lambda s, ns: f"{{tv_sec={s}, tv_nsec={ns}}}")
timeval = _structure("<qq", lambda s, us: f"{{tv_sec={s}, tv_usec={us}}}")
int_pointer = _structure("<i", lambda value: f"[{value}]")
unsigned_pointer = _structure("<I", lambda value: f"[{value}]")
word_pointer = _structure("<Q", lambda value: f"[{value}]")
address_pointer = _structure("<Q", lambda value: f"[{value:#x}]" if value else "[NULL]")
descriptor_pair = _structure("<ii", lambda first, second: f"[{first}, {second}]")


def _show_open_how(flags: int, mode: int, resolve: int) -> str:
    permissions = f", mode={names.octal(mode)}" if mode or flags & 0o100 else ""
    return f"{{flags={names.OPEN(flags)}{permissions}, resolve={names.RESOLVE(resolve)}}}"


open_how = _structure("<QQQ", _show_open_how)


def _show_signal_set(bits: int) -> str:
    """``[SEGV FPE]``, as strace writes sets of signals; ``~[…]`` where most are in it."""
    inside = [number for number in range(1, 65) if bits >> number - 1 & 1]
    mark = ""
    if len(inside) > 32:
        inside = [number for number in range(1, 65) if number not in inside]
        mark = "~"
    return f"{mark}[{' '.join(names.SIGNAL(n).removeprefix('SIG') for n in inside)}]"


signal_set = _structure("<Q", _show_signal_set)

_HANDLERS = {0: "SIG_DFL", 1: "SIG_IGN"}
_SA_FLAGS = names.Flags(
    {0x04000000: "SA_RESTORER", 0x08000000: "SA_ONSTACK", 0x10000000: "SA_RESTART"}
    | {0x40000000: "SA_NODEFER", 0x80000000: "SA_RESETHAND", 4: "SA_SIGINFO"}
    | {1: "SA_NOCLDSTOP", 2: "SA_NOCLDWAIT"}
)


def _show_sigaction(handler: int, mask: bytes, flags: int) -> str:
    (first,) = struct.unpack_from("<Q", mask)
    return (
        f"{{sa_handler={_HANDLERS.get(handler) or hex(handler)}, "
        f"sa_mask={_show_signal_set(first)}, sa_flags={_SA_FLAGS(flags & 0xFFFFFFFF)}}}"
    )


# glibc's: handler, a set of 128 bytes, flags, restorer (sysdeps/unix/sysv/linux/bits/sigaction.h)
sigaction = _structure("<Q128si", _show_sigaction)

_SS_FLAGS = names.Flags({1: "SS_ONSTACK", 2: "SS_DISABLE", 1 << 31: "SS_AUTODISARM"})
stack = _structure(
    "<Qi4xQ",
    lambda pointer, flags, size: (
        f"{{ss_sp={pointer:#x}, ss_flags={_SS_FLAGS(flags & 0xFFFFFFFF)}, ss_size={size}}}"
    ),
)


def vector(reader: Reader, address: int, count: int) -> str:
    """An array of ``struct iovec``: where the bytes are, and the bytes."""
    if not address:
        return "NULL"
    shown = []
    for place in range(min(count, _SHOWN_ELEMENTS)):
        data = reader.peek(address + 16 * place, 16)
        if data is None or len(data) < 16:
            return f"{address:#x}"
        base, length = struct.unpack("<QQ", data)
        shown.append(f"{{iov_base={reader.bytes(base, length)}, iov_len={length}}}")
    if count > _SHOWN_ELEMENTS:
        shown.append("...")
    return f"[{', '.join(shown)}]"


def poll_descriptors(reader: Reader, address: int, count: int) -> str:
    """An array of ``struct pollfd``."""
    if not address:
        return "NULL"
    shown = []
    for place in range(min(count, _SHOWN_ELEMENTS)):
        data = reader.peek(address + 8 * place, 8)
        if data is None or len(data) < 8:
            return f"{address:#x}"
        number, events, _ = struct.unpack("<ihh", data)
        shown.append(f"{{fd={number}, events={names.POLL(events & 0xFFFF)}}}")
    if count > _SHOWN_ELEMENTS:
        shown.append("...")
    return f"[{', '.join(shown)}]"
