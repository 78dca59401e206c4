"""What kind of code an address is in: an image's, WebAssembly's, the platform's, the machine's.

Compiled WebAssembly is recognised by the ELF file that Wasmtime keeps it in, in guest memory
(``jit_images.py``); everything else that appears at run time is taken for a guest's own JIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.values.memory import page_floor
from theseus_kit.values.symbols import FrameKind

if TYPE_CHECKING:
    from theseus_kit.plugin import Services
    from theseus_kit_backtrace.jit_images import JitImages

_MOST_PAGES = 1 << 12


class CodeKinds:
    """Kinds by page, kept because stacks repeat themselves."""

    def __init__(self, services: Services, jit_images: JitImages) -> None:
        self._machine = services.machine
        self._namespace = services.namespace
        self._jit_images = jit_images
        self._own: dict[int, bool] = {}

    def at(self, address: int) -> FrameKind:
        page = page_floor(address)
        own = self._own.get(page)
        if own is None:
            if len(self._own) >= _MOST_PAGES:
                self._own.clear()
            own = self._own[page] = self._machine.is_own_code(address)
        if own:
            placed = self._machine.placed_code(address)
            is_function = placed is not None and bool(placed.name)
            return FrameKind.PLATFORM if is_function else FrameKind.TRANSITION
        if self._namespace.image_at(address) is not None:
            return FrameKind.GUEST
        return FrameKind.WASM if self._jit_images.is_wasm(address) else FrameKind.GUEST
