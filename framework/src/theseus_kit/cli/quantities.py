"""Numbers with units, as the command line's options take them."""

from __future__ import annotations

import re

from theseus_kit.errors import UsageError

_UNITS = {
    **{"": 1, "B": 1},
    **{f"{prefix}iB": 1 << 10 * power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)},
}


def parse_size(option: str, text: str) -> int:
    """Turn ``1048576``, ``64MiB``, ``1.5GB`` into bytes. Raises UsageError."""
    shown = f"{option}{'' if option.endswith('=') else ' '}{text}"
    parts = re.fullmatch(r"([0-9]+)(?:\.([0-9]+))? ?([A-Za-z]*)", text)
    if parts is None:
        raise UsageError(f"{shown}: write it as a number of bytes, or with a unit: {_known()}")
    whole, fraction, unit = parts.groups(default="")
    if unit not in _UNITS:
        raise UsageError(f"{shown}: no unit is named {unit!r}: there are {_known()}")
    size: int = int(whole + fraction) * _UNITS[unit] // 10 ** len(fraction)
    return size


def check_seconds(option: str, seconds: float | None) -> float | None:
    """Let a time pass that can be waited. Raises UsageError."""
    if seconds is not None and not 0 < seconds < 1e9:
        raise UsageError(f"{option} {seconds:g}: must be a number of seconds above 0")
    return seconds


def _known() -> str:
    return ", ".join(unit for unit in _UNITS if unit)
