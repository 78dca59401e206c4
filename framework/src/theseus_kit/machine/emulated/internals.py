"""Two fields inside Unicorn's central structure, used where its layout is known for certain.

Both are conveniences that the public interface lacks; with the option ``internal_fields`` off,
or with any other build of Unicorn, the machine does without and is slower, not less exact.

- ``no_exit_request``: set before anything is translated, it leaves out a helper call after every
  guest load and store that looks for a request to stop (compute-bound code: 32 → 14 ms). A
  request then takes effect at the next block.
- ``invalid_addr``: the address whose translation was refused, to the byte; the fill callback is
  told the page only.

The layout is that of ``struct uc_struct`` in Unicorn 2.1.4's uc_priv.h as the x86-64 wheel has it.
It is believed only if the version matches and four neighbouring fields hold what they must.
"""

from __future__ import annotations

import ctypes

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.values.memory import PAGE_SIZE

_INVALID_ADDRESS = 1416
_MAPPED_BLOCK_COUNT = 1968
_TARGET_PAGE_SIZE = 1984
_TARGET_PAGE_ALIGN = 1988
_NO_EXIT_REQUEST = 2034
_TCG_BUFFER_SIZE = 14864
_KNOWN_VERSION = (2, 1, 4)


class Internals:
    """The fields of one engine; :func:`find_internals` says whether they can be used."""

    def __init__(self, handle: int) -> None:
        self._invalid_address = ctypes.c_uint64.from_address(handle + _INVALID_ADDRESS)
        self._no_exit_request = ctypes.c_bool.from_address(handle + _NO_EXIT_REQUEST)

    def leave_out_exit_requests(self) -> None:
        self._no_exit_request.value = True

    @property
    def fault_address(self) -> int:
        """The address of the last refused translation."""
        return self._invalid_address.value


def find_internals(cpu: Cpu) -> Internals | None:
    """The internal fields, or None where the layout is not the known one.

    Must be called with exactly one range mapped, which is one of the things it looks for.
    """
    if cpu.library.version != _KNOWN_VERSION or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    size = ctypes.c_uint32()
    error = cpu.library.ctl(
        cpu.handle_argument, ctypes.c_uint(uc.CTL_TCG_BUFFER_SIZE_READ), ctypes.byref(size)
    )
    expected = {
        _MAPPED_BLOCK_COUNT: 1,
        _TARGET_PAGE_SIZE: PAGE_SIZE,
        _TARGET_PAGE_ALIGN: PAGE_SIZE - 1,
        _TCG_BUFFER_SIZE: size.value,
    }
    if error != uc.ERR_OK or any(
        ctypes.c_uint32.from_address(cpu.handle + offset).value != value
        for offset, value in expected.items()
    ):
        return None
    return Internals(cpu.handle)
