"""region-rs's page arithmetic (its ``page`` module and ``util.rs``), on 64-bit addresses.

``theseus_kit.values.memory`` rounds plain integers; here the edge of the address space counts:
what would round past it rounds down, and sizes saturate, as region-rs's ``usize`` does.
"""

from __future__ import annotations

from theseus_kit.errors import InvalidParameterError
from theseus_kit.values.memory import PAGE_SIZE

ADDRESS_SPACE = 1 << 64
"""One more than the highest address."""

_MASK = -PAGE_SIZE


def size() -> int:
    """Bytes in a page."""
    return PAGE_SIZE


def floor(address: int) -> int:
    """Round down to a page boundary: floor(4097) returns 4096."""
    return address & _MASK


def ceil(address: int) -> int:
    """Round up to a page boundary: ceil(4097) returns 8192; in the last page, round down."""
    rounded = (address + PAGE_SIZE - 1) & _MASK
    return rounded if rounded < ADDRESS_SPACE else address & _MASK


def round_to_page_boundaries(address: int, size: int) -> tuple[int, int]:
    """Widen a range to whole pages: (4095, 2) returns (0, 8192).

    The address is rounded down, the size up relative to it; the size saturates. Raises
    InvalidParameterError if the size is zero or either number is no unsigned 64-bit one.
    """
    if size <= 0 or address < 0 or size >= ADDRESS_SPACE or address >= ADDRESS_SPACE:
        raise InvalidParameterError(
            f"size of a range must be 1 to 2^64-1 bytes, and its address 64 bits wide: "
            f"{size} bytes at {address:#x}"
        )
    return address & _MASK, ceil(min((address % PAGE_SIZE) + size, ADDRESS_SPACE - 1))


def page_range(address: int, size: int) -> tuple[int, int]:
    """The whole pages of a range, as (first address, end address).

    Raises InvalidParameterError as :func:`round_to_page_boundaries`, and where the range runs past
    the end of the address space.
    """
    start = address & _MASK
    end = (address + size + PAGE_SIZE - 1) & _MASK
    if size <= 0 or start < 0 or end > ADDRESS_SPACE:
        round_to_page_boundaries(address, size)
        raise InvalidParameterError(
            f"a range of {size} bytes at {address:#x} runs past the end of the address space"
        )
    return start, end
