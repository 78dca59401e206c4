"""Which argument of a C function means what: by its prototype, and by name where that says more.

A prototype's types tell numbers, pointers and strings apart; its parameters' names, which are those
of the manual pages, tell flags, descriptors and modes. What a name means in one function only is in
a table of functions. Each function gets its way to show arguments once, at its first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from theseus_kit.dispatch.prototype import Argument, CType, Prototype, parse_prototype
from theseus_kit.values.record import NamedTuple
from theseus_kit_trace import names, structures
from theseus_kit_trace.guest_memory import Reader

Values: TypeAlias = tuple[int | float, ...]
Show: TypeAlias = Callable[[Reader, Values], str]
"""Shows one argument; it gets them all, for the size of a buffer may be another one."""

ShowOutput: TypeAlias = Callable[[Reader, Values, int], str]
"""Shows what a call has left behind a pointer; it gets the result too."""


class FunctionFormat(NamedTuple):
    """How one function's calls are shown."""

    parameters: tuple[str, ...]
    show: tuple[Show, ...]
    plain: tuple[bool, ...]
    """Which arguments are shown as decimal numbers, so that JSON has them as numbers."""
    result: Callable[[Reader, int | float], str]
    plain_result: bool
    outputs: tuple[tuple[str, ShowOutput], ...]
    """What is worth showing when a call has succeeded, by the parameter's name."""


_BY_NAME: dict[str, names.Shown] = {
    "prot": names.PROT,
    "fd": names.descriptor,
    "dirfd": names.descriptor,
    "olddirfd": names.descriptor,
    "newdirfd": names.descriptor,
    "clockid": names.CLOCK,
    "clock_id": names.CLOCK,
    "signum": names.SIGNAL,
    "sig": names.SIGNAL,
    "whence": names.SEEK,
    "mode": names.octal,
}
"""Parameters that mean the same wherever they stand; only integers are looked up here."""

_OPEN_LIKE = ("open", "open64", "openat", "openat64", "__open_2", "__open64_2")
_CREATES = 0o100 | 0o20000000
"""O_CREAT and O_TMPFILE's own bit: without one of them the mode is whatever was in a register."""
_BY_FUNCTION: dict[tuple[str, str], names.Shown] = {
    **{(name, "flags"): names.OPEN for name in _OPEN_LIKE},
    **{(name, "flags"): names.MAP for name in ("mmap", "mmap64")},
    ("mremap", "flags"): names.MREMAP,
    ("madvise", "advice"): names.MADV,
    ("posix_madvise", "advice"): names.MADV,
    ("msync", "flags"): names.MS,
    **{(name, "advice"): names.FADVISE for name in ("posix_fadvise", "fadvise64")},
    ("posix_fadvise64", "advice"): names.FADVISE,
    ("fallocate", "mode"): names.FALLOCATE,
    **{(name, "cmd"): names.FCNTL for name in ("fcntl", "fcntl64")},
    ("flock", "operation"): names.FLOCK,
    ("access", "mode"): names.ACCESS,
    ("faccessat", "mode"): names.ACCESS,
    **{
        (name, "flags"): names.AT
        for name in ("unlinkat", "linkat", "fstatat", "newfstatat", "utimensat", "statx")
    },
    ("statx", "mask"): names.STATX,
    ("getrandom", "flags"): names.GRND,
    ("eventfd", "flags"): names.EVENTFD,
    ("eventfd2", "flags"): names.EVENTFD,
    ("epoll_create1", "flags"): names.EPOLL_CREATE,
    ("epoll_ctl", "op"): names.EPOLL_OPERATION,
    ("memfd_create", "flags"): names.MEMFD,
    ("pipe2", "flags"): names.OPEN,
    ("dup3", "flags"): names.OPEN,
    ("clock_nanosleep", "flags"): names.TIMER,
    ("futex", "futex_op"): names.futex_operation,
    ("futex", "op"): names.futex_operation,
    ("clone", "flags"): names.CLONE,
    **{
        (name, "how"): names.SIGNAL_MASK_CHANGE
        for name in ("sigprocmask", "__sigprocmask", "__pthread_sigmask", "rt_sigprocmask")
    },
    ("getauxval", "type"): names.AUXILIARY,
    ("sysconf", "name"): names.SYSCONF,
}

_WRITING = frozenset(("write", "pwrite", "pwrite64", "send", "sendto"))
"""Functions whose data is worth showing; the argument behind the buffer is its size."""

_PATHS = frozenset(("path", "pathname", "filename", "oldpath", "newpath", "linkpath"))
"""Parameters that are paths, which are shown whole."""

_NO_STRINGS = frozenset({"strtol", "strtoul"})

_STRUCTURES: dict[str, structures.Structure] = {
    "const struct timespec *": structures.timespec,
    "const struct timeval *": structures.timeval,
    "struct open_how *": structures.open_how,
    "const struct open_how *": structures.open_how,
    "const sigset_t *": structures.signal_set,
    "const struct sigaction *": structures.sigaction,
    "const stack_t *": structures.stack,
}
"""What an argument of a type points at before the call."""

_OUTPUT_STRUCTURES: dict[str, structures.Structure] = {
    "struct timespec *": structures.timespec,
    "struct timeval *": structures.timeval,
    "sigset_t *": structures.signal_set,
    "struct sigaction *": structures.sigaction,
    "stack_t *": structures.stack,
    "void **": structures.address_pointer,
    "pthread_key_t *": structures.unsigned_pointer,
    "pthread_t *": structures.word_pointer,
}
"""What a call leaves behind a pointer of a type."""

_FILLED = frozenset(
    ("read", "pread", "pread64", "getrandom", "readlink", "readlinkat", "recv", "recvfrom")
)
"""Functions whose result says how much of ``buf`` they have filled."""

_TEXT_RESULTS = frozenset({"getenv", "getcwd", "strerror", "dlerror", "realpath", "setlocale"})


def format_of(prototype_text: str) -> FunctionFormat:
    """Make a function's format. Raises PrototypeError for what dispatch would refuse too."""
    prototype = parse_prototype(prototype_text)
    shows, plain = [], []
    for place, argument in enumerate(prototype.arguments):
        show, is_plain = _argument(prototype, place, argument)
        shows.append(show)
        plain.append(is_plain)
    result, plain_result = _result(prototype)
    return FunctionFormat(
        tuple(argument.name for argument in prototype.arguments),
        tuple(shows),
        tuple(plain),
        result,
        plain_result,
        tuple(_outputs(prototype)),
    )


def _argument(prototype: Prototype, place: int, argument: Argument) -> tuple[Show, bool]:
    ctype, name = argument.type, argument.name
    if ctype.kind == "float":
        return (lambda reader, values: repr(values[place])), False
    if ctype.kind == "integer":
        shown = _BY_FUNCTION.get((prototype.name, name)) or _BY_NAME.get(name)
        if name == "mode" and prototype.name in _OPEN_LIKE:
            flags = place - 1
            return (
                lambda reader, values: (
                    names.octal(int(values[place])) if int(values[flags]) & _CREATES else "(unused)"
                )
            ), False
        if name == "offset" and prototype.name in ("mmap", "mmap64"):
            shown = _hexadecimal  # as strace writes this one offset
        if shown is None:
            return (lambda reader, values: str(int(values[place]))), True
        named = shown
        return (lambda reader, values: named(values[place])), False
    return _pointer(prototype, place, argument), False


def _pointer(prototype: Prototype, place: int, argument: Argument) -> Show:
    text = argument.type.text
    following = prototype.arguments[place + 1] if place + 1 < len(prototype.arguments) else None
    if text == "const char *" and argument.name in _PATHS:
        return lambda reader, values: reader.path(int(values[place]))
    if text == "const char *" and prototype.name not in _NO_STRINGS:
        return lambda reader, values: reader.string(int(values[place]))
    if text in ("const struct iovec *", "struct pollfd *") and following is not None:
        array = structures.vector if "iovec" in text else structures.poll_descriptors
        if prototype.name in ("readv", "preadv", "preadv2"):
            return lambda reader, values: pointer(int(values[place]))
        return lambda reader, values: array(reader, int(values[place]), int(values[place + 1]))
    if text == "const void *" and prototype.name in _WRITING:
        return lambda reader, values: reader.bytes(int(values[place]), int(values[place + 1]))
    structure = _STRUCTURES.get(text)
    if structure is not None:
        return lambda reader, values: structure(reader, int(values[place]))
    return lambda reader, values: pointer(int(values[place]))


def _result(prototype: Prototype) -> tuple[Callable[[Reader, int | float], str], bool]:
    ctype = prototype.result
    if ctype.kind == "void":
        return (lambda reader, value: "?"), False
    if ctype.kind == "float":
        return (lambda reader, value: repr(value)), False
    if ctype.kind == "pointer":
        if prototype.name in _TEXT_RESULTS:
            return (lambda reader, value: reader.string(int(value))), False
        return (lambda reader, value: pointer(int(value))), False
    if ctype.text in ("pthread_t",):
        return (lambda reader, value: pointer(int(value))), False
    return (lambda reader, value: str(_cut(int(value), ctype))), True


def _cut(value: int, ctype: CType) -> int:
    """A result as its C caller reads it, whatever a body has answered."""
    value &= (1 << ctype.size * 8) - 1
    return value - (1 << ctype.size * 8) if ctype.signed and value >> ctype.size * 8 - 1 else value


def _outputs(prototype: Prototype) -> list[tuple[str, ShowOutput]]:
    found: list[tuple[str, ShowOutput]] = []
    for place, argument in enumerate(prototype.arguments):
        if argument.type.kind != "pointer":
            continue
        if prototype.name in _FILLED and argument.name in ("buf", "buffer"):
            found.append((argument.name, _filled(place)))
        elif prototype.name in ("pipe", "pipe2"):
            found.append((argument.name, _behind(structures.descriptor_pair, place)))
        elif argument.type.text in _OUTPUT_STRUCTURES:
            found.append((argument.name, _behind(_OUTPUT_STRUCTURES[argument.type.text], place)))
    return found


def _filled(place: int) -> ShowOutput:
    return lambda reader, values, result: reader.bytes(int(values[place]), result)


def _behind(structure: structures.Structure, place: int) -> ShowOutput:
    def show(reader: Reader, values: Values, result: int) -> str:
        address = int(values[place])
        return structure(reader, address) if address else ""

    return show


def pointer(value: int) -> str:
    """An address, or NULL."""
    return f"{value & 0xFFFF_FFFF_FFFF_FFFF:#x}" if value else "NULL"


def _hexadecimal(value: int) -> str:
    return f"{value:#x}" if value else "0"
