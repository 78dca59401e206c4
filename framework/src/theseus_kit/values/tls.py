"""What crosses the thread-local storage hooks."""

from __future__ import annotations

from theseus_kit.values.record import NamedTuple


class TlsTemplate(NamedTuple):
    """A module's PT_TLS segment: what every task's copy starts as.

    ``initial`` is .tdata; the bytes from there to ``size`` are .tbss, zero. ``address`` is where
    the loaded image keeps .tdata.
    """

    image: str
    address: int
    size: int
    alignment: int
    initial: bytes
    static: bool = False
    """The image uses local- or initial-exec: its block must lie at a fixed offset below the
    thread pointer (DF_STATIC_TLS, or a TPOFF relocation)."""

    def __repr__(self) -> str:
        kind = "static" if self.static else "dynamic"
        return f"<TlsTemplate of {self.image}: {self.size} bytes, {kind}>"
