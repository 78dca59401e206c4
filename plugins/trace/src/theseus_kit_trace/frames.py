"""The guest functions that led to a call, as ``strace -k`` shows them."""

from __future__ import annotations

from theseus_kit import Services, TheseusKitError
from theseus_kit.dispatch.backtraces import capture_frames, resolve_frames
from theseus_kit.values.symbols import FrameKind


def guest_frames(services: Services, limit: int) -> tuple[str, ...]:
    """Name up to ``limit`` functions, innermost first; none where no guest code waits."""
    try:
        frames, names = capture_frames(services.machine, services.hooks, services.tasks)
    except TheseusKitError:  # before the first task runs there is nothing to walk
        return ()
    found: list[str] = []
    for frame, symbols in resolve_frames(services.hooks, frames, names):
        if frame.kind is not FrameKind.GUEST:
            continue
        found += [symbol.display_name for symbol in symbols] or [f"{frame.lookup_address:#x}"]
        if len(found) >= limit:
            break
    return tuple(found[:limit])
