"""time.h: dates. Zones are :mod:`.time_zone`'s, clocks :mod:`.time`'s.

::

    struct tm, 56 bytes
    ┌─────┬─────┬──────┬──────┬─────┬──────┬──────┬──────┬───────┬────────────┬─────────┐
    │ sec │ min │ hour │ mday │ mon │ year │ wday │ yday │ isdst │ gmtoff (8) │ zone (8)│
    └─────┴─────┴──────┴──────┴─────┴──────┴──────┴──────┴───────┴────────────┴─────────┘
    0     4     8      12     16    20     24     28     32      40           48
"""

from __future__ import annotations

import errno
from struct import Struct

from theseus_kit.errors import PlatformError
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.deferred import Deferred
from theseus_kit_tlibc.string_search import StringReader
from theseus_kit_tlibc.time_format import Date, formatted_date
from theseus_kit_tlibc.time_zone import Local, Zone, zone_of

_TM = Struct("<9i4xqQ")
_DAY, _HOUR = 86_400, 3_600
_UTC = Local(0, False, "GMT")
_NANOSECONDS = 1_000_000_000
_CLOCKS_PER_SECOND = 1_000_000


class _Broken(NamedTuple):
    second: int
    minute: int
    hour: int
    day: int
    month: int
    year: int
    weekday: int
    yearday: int


class Bodies(StringReader):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._zone: tuple[bytes | None, Zone] | None = None
        self._static: dict[str, int] = {}

    def gmtime_r(self, timep: int, result: int) -> int:
        return self._put(result, self._time(timep), _UTC)

    def gmtime(self, timep: int) -> int:
        return self.gmtime_r(timep, self._room("tm", _TM.size))

    def localtime_r(self, timep: int, result: int) -> int:
        seconds = self._time(timep)
        return self._put(result, seconds, self._current_zone().at(seconds))

    def localtime(self, timep: int) -> int:
        self.tzset()
        return self.localtime_r(timep, self._room("tm", _TM.size))

    def timegm(self, tm: int) -> int:
        seconds = self._seconds(tm)
        self._put(tm, seconds, _UTC)
        return seconds

    def mktime(self, tm: int) -> int:
        """tm_isdst chooses where a moment is ambiguous; where it contradicts, an hour moves."""
        self.tzset()
        zone = self._current_zone()
        wanted = self.library.memory.read(tm + 32, 4)
        is_dst = int.from_bytes(wanted, "little", signed=True)
        local = self._seconds(tm)
        found = {local - zone.at(local + shift).offset for shift in (-_DAY, 0, _DAY)}
        fitting = sorted(moment for moment in found if moment + zone.at(moment).offset == local)
        matching = [moment for moment in fitting if zone.at(moment).is_dst == bool(is_dst)]
        if is_dst >= 0 and not matching:
            # The other kind of time is meant: its offset, wherever in the year it is used.
            standard, saving = zone.names(local)
            other = saving if is_dst else standard
            if other.is_dst == bool(is_dst):
                matching = [local - other.offset]
            elif is_dst:
                # A zone without summer time: it would be an hour ahead.
                matching = [local - other.offset - _HOUR]
        seconds = (matching if is_dst >= 0 and matching else fitting or sorted(found))[0]
        self._put(tm, seconds, zone.at(seconds))
        return seconds

    def tzset(self) -> None:
        """Publish the zone's names and offset in the variables that C has for them."""
        zone = self._current_zone()
        standard, saving = zone.names(self.library.now() // _NANOSECONDS)
        constant, memory, provided = (
            self.library.constant,
            self.library.memory,
            self.library.provided,
        )
        for name in ("tzname", "__tzname"):
            for at, local in enumerate((standard, saving)):
                memory.write_u64(provided(name) + 8 * at, constant(local.name.encode() + b"\0"))
        for name in ("timezone", "__timezone"):
            memory.write_u64(provided(name), -standard.offset & (1 << 64) - 1)
        for name in ("daylight", "__daylight"):
            memory.write_u32(provided(name), saving.is_dst)

    def asctime_r(self, tm: int, buf: int) -> int:
        self.library.memory.write(buf, self._text(b"%a %b %e %H:%M:%S %Y\n", tm) + b"\0")
        return buf

    def asctime(self, tm: int) -> int:
        return self.asctime_r(tm, self._room("asctime", 64))

    def ctime_r(self, timep: int, buf: int) -> int:
        return self.asctime_r(self.localtime(timep), buf)

    def ctime(self, timep: int) -> int:
        return self.asctime(self.localtime(timep))

    def strftime(self, s: int, room: int, template: int, tm: int) -> int:
        text = self._text(self.string(template), tm)
        if len(text) >= room:
            return 0
        self.library.memory.write(s, text + b"\0")
        return len(text)

    def strftime_l(self, s: int, room: int, template: int, tm: int, locale: int) -> int:
        return self.strftime(s, room, template, tm)

    def wcsftime(self, s: int, room: int, template: int, tm: int) -> int:
        memory = self.library.memory
        codes = bytearray()
        while (code := memory.read_u32(template)) != 0:
            codes += code.to_bytes(4, "little")
            template += 4
        plain = codes.decode("utf-32-le", "replace").encode()
        wide = self._text(plain, tm).decode(errors="replace").encode("utf-32-le")
        if len(wide) // 4 >= room:
            return 0
        memory.write(s, wide + bytes(4))
        return len(wide) // 4

    def wcsftime_l(self, s: int, room: int, template: int, tm: int, locale: int) -> int:
        return self.wcsftime(s, room, template, tm)

    def difftime(self, end: int, start: int) -> float:
        return float(end - start)

    def clock(self) -> int:
        return self.library.services.clock.cpu_ns() * _CLOCKS_PER_SECOND // _NANOSECONDS

    def _text(self, template: bytes, tm: int) -> bytes:
        *fields, offset, name = _TM.unpack(self.library.memory.read(tm, _TM.size))
        zone = self.library.memory.read_string(name) if name else b""
        return formatted_date(
            template, Date._make((*fields, offset, zone, self._seconds_of(fields)))
        )

    def _current_zone(self) -> Zone:
        wanted = self.library.environment.get(b"TZ")
        if self._zone is None or self._zone[0] != wanted:
            self._zone = (wanted, zone_of(self.library))
        return self._zone[1]

    def _time(self, timep: int) -> int:
        return int.from_bytes(self.library.memory.read(timep, 8), "little", signed=True)

    def _put(self, tm: int, seconds: int, local: Local) -> int:
        """Write a struct tm and answer its address. Raises EOVERFLOW for a year beyond an int."""
        broken = _broken_down(seconds + local.offset)
        if not -(1 << 31) <= broken.year < 1 << 31:
            raise PlatformError(f"a year of {broken.year}", errno.EOVERFLOW)
        zone = self.library.constant(local.name.encode() + b"\0")
        data = _TM.pack(*broken, local.is_dst, local.offset, zone)
        self.library.memory.write(tm, data)
        return tm

    def _seconds(self, tm: int) -> int:
        """The fields of a struct tm, in ranges or not, as if they were UTC's."""
        return self._seconds_of(_TM.unpack(self.library.memory.read(tm, _TM.size)))

    @staticmethod
    def _seconds_of(fields: tuple[int, ...] | list[int]) -> int:
        second, minute, hour, day, month, year = fields[:6]
        days = _days_before(year + 1900 + month // 12, month % 12) + day - 1
        return days * _DAY + hour * 3600 + minute * 60 + second

    def _room(self, name: str, size: int) -> int:
        address = self._static.get(name)
        if address is None:
            address = self._static[name] = self.library.heap.allocate(size)
        return address


def _days_before(year: int, month: int) -> int:
    """Days from 1970 to the first of a month (0 to 11), in the Gregorian calendar of all years."""
    # The year starts in March, so that the leap day is its last.
    shifted = year - (month < 2)
    since_march = (month - 2) % 12
    in_year = (153 * since_march + 2) // 5
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + in_year - 719_468


def _broken_down(seconds: int) -> _Broken:
    days, rest = divmod(seconds, _DAY)
    year = 1970 + days * 400 // 146_097
    while _days_before(year, 0) > days:
        year -= 1
    while _days_before(year + 1, 0) <= days:
        year += 1
    yearday = days - _days_before(year, 0)
    month = max(m for m in range(12) if _days_before(year, m) <= days)
    return _Broken(
        *(rest % 60, rest // 60 % 60, rest // 3600, days - _days_before(year, month) + 1, month),
        *(year - 1900, (days + 4) % 7, yearday),
    )
