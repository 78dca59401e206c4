"""Numbers that C callers write by name: flags and enumerations of Linux on x86-64.

Sources: include/uapi of Linux 6.15 (asm-generic/mman-common.h, asm-generic/fcntl.h, linux/futex.h,
linux/fcntl.h …) and glibc's headers for sysconf(3). The spelling of combinations is strace's. Which
argument of which function is which is :mod:`theseus_kit_trace.arguments`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Shown = Callable[[int], str]
"""Turns a number into what it is called."""


def _table(names: str, first: int = 0) -> dict[int, str]:
    """Consecutive numbers' names."""
    return dict(enumerate(names.split(), first))


def _bits(prefix: str, names: str, first: int = 1) -> dict[int, str]:
    """The names of consecutive bits; ``-`` leaves one out."""
    return {
        first << place: prefix + name for place, name in enumerate(names.split()) if name != "-"
    }


class Enumeration:
    """One number, one name: ``SEEK_SET``. An unknown number is shown in hexadecimal."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names

    def __call__(self, value: int) -> str:
        return self._names.get(value) or (f"{value:#x}" if value else "0")


class Flags:
    """Bits, each with a name; ``zero`` is what no bit at all is called.

    ``field`` is a mask of low bits that hold a number of ``values`` instead of flags: the access
    mode of open(2), the type of a mapping. Answers are kept: few combinations are ever used.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        zero: str = "0",
        field: int = 0,
        values: Mapping[int, str] | None = None,
    ) -> None:
        # Names of several bits, such as O_SYNC, before those of their parts.
        self._names = sorted(names.items(), key=lambda item: (-item[0].bit_count(), item[0]))
        self._order = {name: place for place, name in enumerate(names.values())}
        self._zero = zero
        self._field = field
        self._values = dict(values or {})
        self._known: dict[int, str] = {}

    def __call__(self, value: int) -> str:
        text = self._known.get(value)
        if text is None:
            text = self._known[value] = self._spell(value)
        return text

    def _spell(self, value: int) -> str:
        parts = []
        rest = value & 0xFFFF_FFFF_FFFF_FFFF
        if self._field:
            number = rest & self._field
            rest &= ~self._field
            if number in self._values:
                parts.append(self._values[number])
            else:
                rest |= number
        found = []
        for bits, name in self._names:
            if rest & bits == bits:
                found.append(name)
                rest &= ~bits
        parts += sorted(found, key=self._order.__getitem__)
        if rest:
            parts.append(f"{rest:#x}")
        return "|".join(parts) or self._zero


PROT = Flags(
    {1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC", 8: "PROT_SEM"}
    | {0x01000000: "PROT_GROWSDOWN", 0x02000000: "PROT_GROWSUP"},
    zero="PROT_NONE",
)
MAP = Flags(
    {0x10: "MAP_FIXED", 0x20: "MAP_ANONYMOUS", 0x40: "MAP_32BIT", 0x4000: "MAP_NORESERVE"}
    | {0x8000: "MAP_POPULATE", 0x10000: "MAP_NONBLOCK", 0x100: "MAP_GROWSDOWN"}
    | {0x800: "MAP_DENYWRITE", 0x1000: "MAP_EXECUTABLE", 0x2000: "MAP_LOCKED"}
    | {0x20000: "MAP_STACK", 0x40000: "MAP_HUGETLB", 0x80000: "MAP_SYNC"}
    | {0x100000: "MAP_FIXED_NOREPLACE", 0x4000000: "MAP_UNINITIALIZED"},
    field=0xF,
    values={0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"},
)
MREMAP = Flags({1: "MREMAP_MAYMOVE", 2: "MREMAP_FIXED", 4: "MREMAP_DONTUNMAP"})
MADV = Enumeration(
    _table("MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED")
    | _table(
        "MADV_FREE MADV_REMOVE MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE "
        "MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK "
        "MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT MADV_POPULATE_READ MADV_POPULATE_WRITE "
        "MADV_DONTNEED_LOCKED MADV_COLLAPSE",
        8,
    )
    | {100: "MADV_HWPOISON", 101: "MADV_SOFT_OFFLINE"}
)
MS = Flags({4: "MS_SYNC", 1: "MS_ASYNC", 2: "MS_INVALIDATE"})

OPEN = Flags(
    _bits("O_", "CREAT EXCL NOCTTY TRUNC APPEND NONBLOCK", 0o100)
    | {0o4010000: "O_SYNC", 0o20000: "O_ASYNC", 0o10000: "O_DSYNC", 0o40000: "O_DIRECT"}
    | {0o100000: "O_LARGEFILE", 0o400000: "O_NOFOLLOW", 0o1000000: "O_NOATIME"}
    | {0o2000000: "O_CLOEXEC", 0o10000000: "O_PATH", 0o20200000: "O_TMPFILE"}
    | {0o200000: "O_DIRECTORY"},
    field=3,
    values={0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR", 3: "O_ACCMODE"},
)
RESOLVE = Flags(_bits("RESOLVE_", "NO_XDEV NO_MAGICLINKS NO_SYMLINKS BENEATH IN_ROOT CACHED"))
AT = Flags(
    {0x100: "AT_SYMLINK_NOFOLLOW", 0x200: "AT_REMOVEDIR", 0x400: "AT_SYMLINK_FOLLOW"}
    | {0x800: "AT_NO_AUTOMOUNT", 0x1000: "AT_EMPTY_PATH"}
)
STATX = Flags(
    {0x7FF: "STATX_BASIC_STATS", 0xFFF: "STATX_ALL"}
    | _bits("STATX_", "TYPE MODE NLINK UID GID ATIME MTIME CTIME INO SIZE BLOCKS BTIME MNT_ID")
)
FALLOCATE = Flags(
    _bits("FALLOC_FL_", "KEEP_SIZE PUNCH_HOLE NO_HIDE_STALE COLLAPSE_RANGE ZERO_RANGE INSERT_RANGE")
)
FADVISE = Enumeration(
    _table(
        "POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED "
        "POSIX_FADV_DONTNEED POSIX_FADV_NOREUSE"
    )
)
FCNTL = Enumeration(
    _table(
        "F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN "
        "F_SETSIG F_GETSIG"
    )
    | {36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW", 1030: "F_DUPFD_CLOEXEC"}
    | {1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ", 1033: "F_ADD_SEALS", 1034: "F_GET_SEALS"}
)
FLOCK = Flags({1: "LOCK_SH", 2: "LOCK_EX", 4: "LOCK_NB", 8: "LOCK_UN"})
ACCESS = Flags({4: "R_OK", 2: "W_OK", 1: "X_OK"}, zero="F_OK")
SEEK = Enumeration(_table("SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE"))

CLOCK = Enumeration(
    _table(
        "CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID "
        "CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME "
        "CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM"
    )
    | {11: "CLOCK_TAI"}
)
TIMER = Flags({1: "TIMER_ABSTIME"})
GRND = Flags({1: "GRND_NONBLOCK", 2: "GRND_RANDOM", 4: "GRND_INSECURE"})
EVENTFD = Flags({1: "EFD_SEMAPHORE", 0o4000: "EFD_NONBLOCK", 0o2000000: "EFD_CLOEXEC"})
EPOLL_CREATE = Flags({0o2000000: "EPOLL_CLOEXEC"})
EPOLL_OPERATION = Enumeration(_table("EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD", 1))
MEMFD = Flags({1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB", 8: "MFD_NOEXEC_SEAL"})
POLL = Flags(
    _bits("POLL", "IN PRI OUT ERR HUP NVAL RDNORM RDBAND WRNORM WRBAND MSG") | {0x2000: "POLLRDHUP"}
)
CLONE = Flags(
    {0x100: "CLONE_VM", 0x200: "CLONE_FS", 0x400: "CLONE_FILES", 0x800: "CLONE_SIGHAND"}
    | {0x10000: "CLONE_THREAD", 0x40000: "CLONE_SYSVSEM", 0x80000: "CLONE_SETTLS"}
    | {0x100000: "CLONE_PARENT_SETTID", 0x200000: "CLONE_CHILD_CLEARTID"}
)

_FUTEX = _table(
    "FUTEX_WAIT FUTEX_WAKE FUTEX_FD FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI "
    "FUTEX_UNLOCK_PI FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI "
    "FUTEX_CMP_REQUEUE_PI FUTEX_LOCK_PI2"
)


def futex_operation(value: int) -> str:
    """``FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME``: the flags are part of the name."""
    command = value & ~0x180
    name = _FUTEX.get(command) or f"{command:#x}"
    if value & 0x80:
        name += "_PRIVATE" if command in _FUTEX else "|FUTEX_PRIVATE_FLAG"
    return name + ("|FUTEX_CLOCK_REALTIME" if value & 0x100 else "")


_SIGNALS = _table(
    "SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 "
    "SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG "
    "SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS",
    1,
)
SIGNAL = Enumeration(_SIGNALS | {32: "SIGRTMIN"} | {32 + n: f"SIGRT_{n}" for n in range(1, 33)})
SIGNAL_MASK_CHANGE = Enumeration(_table("SIG_BLOCK SIG_UNBLOCK SIG_SETMASK"))

AUXILIARY = Enumeration(
    _table(
        "AT_NULL AT_IGNORE AT_EXECFD AT_PHDR AT_PHENT AT_PHNUM AT_PAGESZ AT_BASE AT_FLAGS "
        "AT_ENTRY AT_NOTELF AT_UID AT_EUID AT_GID AT_EGID AT_PLATFORM AT_HWCAP AT_CLKTCK"
    )
    | {23: "AT_SECURE", 25: "AT_RANDOM", 26: "AT_HWCAP2", 31: "AT_EXECFN"}
    | {33: "AT_SYSINFO_EHDR", 51: "AT_MINSIGSTKSZ"}
)
SYSCONF = Enumeration(
    _table("_SC_ARG_MAX _SC_CHILD_MAX _SC_CLK_TCK _SC_NGROUPS_MAX _SC_OPEN_MAX")
    | {30: "_SC_PAGESIZE", 60: "_SC_IOV_MAX", 69: "_SC_GETGR_R_SIZE_MAX"}
    | {70: "_SC_GETPW_R_SIZE_MAX", 75: "_SC_THREAD_STACK_MIN", 83: "_SC_NPROCESSORS_CONF"}
    | {84: "_SC_NPROCESSORS_ONLN", 85: "_SC_PHYS_PAGES", 86: "_SC_AVPHYS_PAGES"}
    | {180: "_SC_HOST_NAME_MAX"}
)


def descriptor(value: int) -> str:
    """A file descriptor: a number, or AT_FDCWD."""
    return "AT_FDCWD" if value == -100 else str(value)


def octal(value: int) -> str:
    """File permissions, as chmod(1) writes them."""
    return f"0{value:o}" if value else "000"
