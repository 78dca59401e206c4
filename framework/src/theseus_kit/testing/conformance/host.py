"""What the suites measure of the host: memory in use, memory locked."""

from __future__ import annotations

from pathlib import Path

from theseus_kit.values.memory import PAGE_SIZE


def resident_bytes() -> int:
    """Host memory this process holds (proc(5), ``/proc/pid/statm``)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_SIZE


def locked_bytes() -> int:
    """Host memory this process has locked (proc(5), ``/proc/pid/status``, VmLck)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmLck"))
    return int(line.split()[1]) * 1024
