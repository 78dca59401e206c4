"""Time zones as TZ names them (tzset(3)), for :mod:`.time_calendar`.

``:name`` or ``name`` is a file below /usr/share/zoneinfo *of the guest's namespace*; all else is
POSIX's form, ``CET-1CEST,M3.5.0,M10.5.0/3``. Without TZ it is /etc/localtime, and where a
file is missing or nonsense it is UTC. Python's zoneinfo reads both forms: a POSIX rule is what a
version-2 file has behind its tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from io import BytesIO
from struct import pack
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import OpenMode
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

_DIRECTORY = "/usr/share/zoneinfo/"
_LOCAL = "/etc/localtime"
_LARGEST_FILE = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE = 146_097 * 86_400
"""Seconds of 400 years, after which weekdays and leap years repeat."""
_LAST = int((datetime(9990, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_FIRST = int((datetime(10, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())


class Local(NamedTuple):
    """What a zone says of a moment."""

    offset: int
    """Seconds east of Greenwich."""
    is_dst: bool
    name: str


class Zone:
    """One time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def at(self, seconds: int) -> Local:
        """What holds at a moment, in seconds since the epoch."""
        # Python's dates have four digits; the rules repeat.
        if seconds > _LAST:
            seconds -= -(-(seconds - _LAST) // _CYCLE) * _CYCLE
        elif seconds < _FIRST:
            seconds += -(-(_FIRST - seconds) // _CYCLE) * _CYCLE
        moment = (_EPOCH + timedelta(seconds=seconds)).astimezone(self._zone)
        offset, saving = moment.utcoffset(), moment.dst()
        assert offset is not None
        return Local(int(offset.total_seconds()), bool(saving), moment.tzname() or "UTC")

    def names(self, now: int) -> tuple[Local, Local]:
        """The zone's standard time and its summer time, around a moment; twice the same if none."""
        found = [self.at(now + quarter * 7_889_400) for quarter in range(-4, 5)]
        standard = next((local for local in found if not local.is_dst), found[0])
        return standard, next((local for local in found if local.is_dst), standard)


def zone_of(library: Library) -> Zone:
    """The zone that the environment names now."""
    text = library.environment.get(b"TZ")
    if text is None:
        return _from_file(library, _LOCAL) or Zone(UTC)
    name = text.decode(errors="replace").removeprefix(":")
    if not name:
        return Zone(UTC)
    path = name if name.startswith("/") else _DIRECTORY + name
    return _from_file(library, path) or _from_rule(name) or Zone(UTC)


def _from_file(library: Library, path: str) -> Zone | None:
    try:
        location = library.hooks.path_parse(text=path)
        file = library.hooks.path_open(path=location, mode=OpenMode.READ, permissions=0)
    except PlatformError:
        return None
    try:
        data = bytes(file.read(_LARGEST_FILE))
    except PlatformError:
        return None
    finally:
        file.close()
    return _from_data(data)


def _from_rule(rule: str) -> Zone | None:
    """A zone of a rule alone: a file whose tables have one type, UTC, and no change."""
    header = b"TZif2" + bytes(15) + pack(">6I", 0, 0, 0, 0, 1, 4)
    tables = pack(">iBB", 0, 0, 0) + b"UTC\0"
    return _from_data((header + tables) * 2 + b"\n" + rule.encode() + b"\n")


def _from_data(data: bytes) -> Zone | None:
    try:
        zone = Zone(ZoneInfo.from_file(BytesIO(data)))
        zone.at(0)
    except (ValueError, IndexError):
        return None
    return zone
