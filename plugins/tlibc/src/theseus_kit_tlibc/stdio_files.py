"""stdio.h: the functions that take a FILE.

A FILE is a block of guest memory of glibc's size whose address names a stream kept in Python
(:mod:`.stdio_stream`). Of its fields the macros of C headers read ``_flags`` (two bits, kept as
they look for them) and the buffer's pointers, which are always null: so they call ``__uflow`` and
``__overflow``, which are here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit_tlibc.declare import MINUS_ONE, NULL, Header, c_function
from theseus_kit_tlibc.files import O_APPEND, O_LARGEFILE, O_RDWR, O_WRONLY
from theseus_kit_tlibc.locations import AT_FDCWD
from theseus_kit_tlibc.stdio_stream import BUFFER_SIZE, FULLY, UNBUFFERED, CStream

if TYPE_CHECKING:
    from theseus_kit_tlibc.errno import Errno
    from theseus_kit_tlibc.fcntl import Fcntl
    from theseus_kit_tlibc.library import Library

_Result = TypeVar("_Result")

EOF = -1
FILE_SIZE = 216
"""sizeof(FILE) of glibc on x86-64."""
_MAGIC, _EOF_SEEN, _ERR_SEEN = 0xFBAD0000, 0x10, 0x20
_O_CREAT, _O_EXCL, _O_TRUNC, _O_CLOEXEC, _O_ACCMODE = 0o100, 0o200, 0o1000, 0o2000000, 3
_NAMES = ("stdin", "stdout", "stderr")
_LINE_MAX = (1 << 31) - 1


class StdioFiles(Header):
    header: ClassVar[str] = "stdio.h"

    def __init__(self, library: Library, fcntl: Fcntl, errors: Errno) -> None:
        super().__init__(library)
        self._fcntl = fcntl
        self._errors = errors
        self._streams: dict[int, CStream] = {}
        self._standard: dict[int, int] = {}

    def symbols(self) -> Iterable[CFunction | CObject]:
        """The functions, and the variables ``stdin``, ``stdout`` and ``stderr``."""
        variables = [
            CObject(name, bytes(8), self.header, 8, placed=partial(self._publish, number))
            for number, name in enumerate(_NAMES)
        ]
        return [*super().symbols(), *variables]

    def _publish(self, number: int, address: int) -> None:
        self.library.memory.write_u64(address, self.standard(number))

    def standard(self, number: int) -> int:
        """The FILE of a standard stream, made at its first use."""
        address = self._standard.get(number)
        if address is None:
            buffering = UNBUFFERED if number == 2 else None
            stream = CStream(
                self.library, number, readable=number == 0, writable=number > 0, buffering=buffering
            )
            address = self._standard[number] = self._add(stream)
        return address

    def of(self, address: int) -> CStream:
        """The stream of a FILE. Raises PlatformError (EBADF) for one that is not open."""
        stream = self._streams.get(address)
        if stream is None:
            raise PlatformError(f"{address:#x} is no open stream", errno.EBADF)
        return stream

    def flush_all(self) -> None:
        """Write what waits in any stream; what cannot be written is lost, as at exit()."""
        for stream in list(self._streams.values()):
            if stream.waiting:
                try:
                    stream.flush()
                except PlatformError:
                    continue

    @c_function("FILE *fopen(const char *pathname, const char *mode)", aliases=("fopen64",),
                on_error=NULL)  # fmt: skip
    def fopen(self, pathname: int, mode: int) -> int:
        flags = self._flags(mode)
        path = self.library.locations.at(AT_FDCWD, pathname)
        return self._of_descriptor(self._fcntl.open_at(path, flags, 0o666), flags)

    @c_function("FILE *fdopen(int fd, const char *mode)", on_error=NULL)
    def fdopen(self, fd: int, mode: int) -> int:
        flags = self._flags(mode)
        description = self.library.files.description(fd)
        access = description.flags & _O_ACCMODE
        if access not in (O_RDWR, flags & _O_ACCMODE):
            raise InvalidParameterError("fdopen: more than the descriptor is open for")
        if flags & O_APPEND and not description.flags & O_APPEND:
            description.file.set_append(True)
            description.flags |= O_APPEND
        return self._of_descriptor(fd, flags)

    @c_function("FILE *freopen(const char *pathname, const char *mode, FILE *stream)",
                aliases=("freopen64",), on_error=NULL, blocks=True)  # fmt: skip
    def freopen(self, pathname: int, mode: int, stream: int) -> int:
        """The FILE and its descriptor's number stay; a null path is refused (EBADF)."""
        old = self.of(stream)
        flags = self._flags(mode)
        self._flushed(old)
        if not pathname:
            raise PlatformError("freopen without a path", errno.EBADF)
        path = self.library.locations.at(AT_FDCWD, pathname)
        files = self.library.files
        try:
            opened = self._fcntl.open_at(path, flags, 0o666)
        except PlatformError:
            self._close(stream, old)
            raise
        if opened != old.descriptor:
            files.duplicate_to(opened, old.descriptor, close_on_exec=flags & _O_CLOEXEC != 0)
            files.close(opened)
        self._streams[stream] = self._stream(old.descriptor, flags)
        self._show(stream)
        return stream

    @c_function("int fclose(FILE *stream)", on_error=MINUS_ONE, blocks=True)
    def fclose(self, stream: int) -> int:
        """Whatever writing the rest comes to, the stream is closed."""
        open_stream = self.of(stream)
        try:
            open_stream.flush()
        finally:
            self._close(stream, open_stream)
        return 0

    @c_function("int fflush(FILE *stream)", aliases=("fflush_unlocked",), on_error=MINUS_ONE,
                blocks=True)  # fmt: skip
    def fflush(self, stream: int) -> int:
        """Of all streams that are written, for a null pointer."""
        if stream:
            self._doing(stream, lambda s: s.flush())
            return 0
        for address, each in list(self._streams.items()):
            if each.waiting:
                self._doing(address, lambda s: s.flush())
        return 0

    @c_function("size_t fread(void *ptr, size_t size, size_t n, FILE *stream)",
                aliases=("fread_unlocked",), blocks=True)  # fmt: skip
    def fread(self, ptr: int, size: int, n: int, stream: int) -> int:
        if not size or not n:
            return 0
        window = self.library.memory.window(ptr, size * n, writable=True)
        data = self._tried(stream, lambda s: s.read(size * n), b"")
        window[: len(data)] = data
        failure = self.of(stream).take_failure()
        if failure is not None:
            self._set_errno(failure)
        return len(data) // size

    @c_function("size_t fwrite(const void *ptr, size_t size, size_t n, FILE *stream)",
                aliases=("fwrite_unlocked",), blocks=True)  # fmt: skip
    def fwrite(self, ptr: int, size: int, n: int, stream: int) -> int:
        if not size or not n:
            return 0
        data = self.library.memory.read(ptr, size * n)
        return self._tried(stream, lambda s: s.write(data), 0) // size

    @c_function("int fgetc(FILE *stream)", aliases=("getc", "getc_unlocked", "fgetc_unlocked",
                "_IO_getc", "__uflow"), on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def fgetc(self, stream: int) -> int:
        data = self._doing(stream, lambda s: s.read(1))
        return data[0] if data else EOF

    @c_function("int getchar(void)", on_error=MINUS_ONE, blocks=True)
    def getchar(self) -> int:
        return self.fgetc(self.standard(0))

    @c_function("char *fgets(char *s, int size, FILE *stream)", aliases=("fgets_unlocked",),
                on_error=NULL, blocks=True)  # fmt: skip
    def fgets(self, s: int, size: int, stream: int) -> int:
        if size <= 0:
            return 0
        if size == 1:
            self.library.memory.write(s, b"\0")
            return s
        line = self._doing(stream, lambda c: c.read_until(10, size - 1))
        if not line:
            return 0
        self.library.memory.write(s, line + b"\0")
        return s

    @c_function("ssize_t getdelim(char **lineptr, size_t *n, int delim, FILE *stream)",
                aliases=("__getdelim",), on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def getdelim(self, lineptr: int, n: int, delim: int, stream: int) -> int:
        if not lineptr or not n:
            raise InvalidParameterError("getdelim into nothing")
        line = self._doing(stream, lambda s: s.read_until(delim & 0xFF, _LINE_MAX))
        if not line:
            return EOF
        memory, heap = self.library.memory, self.library.heap
        address, room = memory.read_u64(lineptr), memory.read_u64(n)
        if not address or room < len(line) + 1:
            heap.free(address)
            room = max(len(line) + 1, 120)
            address = heap.allocate(room)
            memory.write_u64(lineptr, address)
            memory.write_u64(n, room)
        memory.write(address, line + b"\0")
        return len(line)

    @c_function("ssize_t getline(char **lineptr, size_t *n, FILE *stream)", on_error=MINUS_ONE,
                blocks=True)  # fmt: skip
    def getline(self, lineptr: int, n: int, stream: int) -> int:
        return self.getdelim(lineptr, n, 10, stream)

    @c_function("int ungetc(int c, FILE *stream)", on_error=MINUS_ONE)
    def ungetc(self, c: int, stream: int) -> int:
        if c == EOF:
            return EOF
        self._doing(stream, lambda s: s.push_back(c & 0xFF))
        return c & 0xFF

    @c_function("int fputc(int c, FILE *stream)", aliases=("putc", "putc_unlocked",
                "fputc_unlocked", "_IO_putc"), on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def fputc(self, c: int, stream: int) -> int:
        self._doing(stream, lambda s: s.write(bytes((c & 0xFF,))))
        return c & 0xFF

    @c_function("int __overflow(FILE *stream, int c)", on_error=MINUS_ONE, blocks=True)
    def overflow(self, stream: int, c: int) -> int:
        return self.fputc(c, stream)

    @c_function("int putchar(int c)", on_error=MINUS_ONE, blocks=True)
    def putchar(self, c: int) -> int:
        return self.fputc(c, self.standard(1))

    @c_function("int fputs(const char *s, FILE *stream)", aliases=("fputs_unlocked",),
                on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def fputs(self, s: int, stream: int) -> int:
        self.write_text(stream, self.library.memory.read_string(s, _LINE_MAX))
        return 1

    @c_function("int puts(const char *s)", on_error=MINUS_ONE, blocks=True)
    def puts(self, s: int) -> int:
        text = self.library.memory.read_string(s, _LINE_MAX) + b"\n"
        self.write_text(self.standard(1), text)
        return len(text)

    @c_function("void perror(const char *s)", blocks=True)
    def perror(self, s: int) -> None:
        number = self.library.memory.read_u32(self._errors.location(self.library.task))
        text = os.strerror(number).encode() + b"\n"
        prefix = self.library.memory.read_string(s) if s else b""
        self._tried(self.standard(2), lambda c: c.write(prefix + b": " * bool(prefix) + text), 0)

    @c_function("int fseek(FILE *stream, long offset, int whence)",
                aliases=("fseeko", "fseeko64"), on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def fseek(self, stream: int, offset: int, whence: int) -> int:
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise InvalidParameterError(f"fseek whence {whence}")
        self._doing(stream, lambda s: s.seek(offset, whence))
        return 0

    @c_function("long ftell(FILE *stream)", aliases=("ftello", "ftello64"), on_error=MINUS_ONE)
    def ftell(self, stream: int) -> int:
        return self.of(stream).tell()

    @c_function("void rewind(FILE *stream)", blocks=True)
    def rewind(self, stream: int) -> None:
        self._tried(stream, lambda s: s.seek(0, os.SEEK_SET), None)
        self.clearerr(stream)

    @c_function("int setvbuf(FILE *stream, char *buf, int mode, size_t size)", on_error=MINUS_ONE)
    def setvbuf(self, stream: int, buf: int, mode: int, size: int) -> int:
        """The buffer itself stays this library's; its size is what is asked for."""
        if not FULLY <= mode <= UNBUFFERED:
            raise InvalidParameterError(f"setvbuf mode {mode}")
        self.of(stream).set_buffering(mode, size if buf else 0)
        return 0

    @c_function("void setbuf(FILE *stream, char *buf)", on_error=MINUS_ONE)
    def setbuf(self, stream: int, buf: int) -> None:
        self.of(stream).set_buffering(FULLY if buf else UNBUFFERED, BUFFER_SIZE)

    @c_function("int feof(FILE *stream)", aliases=("feof_unlocked",), on_error=MINUS_ONE)
    def feof(self, stream: int) -> int:
        return int(self.of(stream).at_end)

    @c_function("int ferror(FILE *stream)", aliases=("ferror_unlocked",), on_error=MINUS_ONE)
    def ferror(self, stream: int) -> int:
        return int(self.of(stream).error)

    @c_function("void clearerr(FILE *stream)", aliases=("clearerr_unlocked",), on_error=MINUS_ONE)
    def clearerr(self, stream: int) -> None:
        self.of(stream).clear()
        self._show(stream)

    @c_function("int fileno(FILE *stream)", aliases=("fileno_unlocked",), on_error=MINUS_ONE)
    def fileno(self, stream: int) -> int:
        return self.of(stream).descriptor

    def write_text(self, stream: int, text: bytes) -> int:
        """Write to a FILE; what fprintf and fputs share."""
        return self._doing(stream, lambda s: s.write(text))

    def _doing(self, address: int, action: Callable[[CStream], _Result]) -> _Result:
        stream = self.of(address)
        try:
            return action(stream)
        finally:
            self._show(address)

    def _tried(
        self, address: int, action: Callable[[CStream], _Result], otherwise: _Result
    ) -> _Result:
        """For functions that count what they did: an error sets errno, and the count is less."""
        try:
            return self._doing(address, action)
        except PlatformError as error:
            self._set_errno(error)
            return otherwise

    def _set_errno(self, error: PlatformError) -> None:
        self.library.hooks.errno_set(task=self.library.task, value=error.errno)

    def _show(self, address: int) -> None:
        """Keep the bits that feof_unlocked and ferror_unlocked look at."""
        stream = self._streams.get(address)
        if stream is not None:
            seen = _EOF_SEEN * stream.at_end | _ERR_SEEN * stream.error
            self.library.memory.write_u32(address, _MAGIC | seen)

    def _flags(self, mode: int) -> int:
        """The flags of open(2) that a mode text means. Raises EINVAL."""
        text = self.library.memory.read_string(mode)
        first, rest = text[:1], text[1:].partition(b",")[0]
        known = {b"r": 0, b"w": _O_CREAT | _O_TRUNC, b"a": _O_CREAT | O_APPEND}
        if first not in known:
            raise InvalidParameterError(f"fopen mode {text!r}")
        flags = known[first] | O_LARGEFILE
        flags |= O_RDWR if b"+" in rest else O_WRONLY if first != b"r" else 0
        return flags | _O_CLOEXEC * (b"e" in rest) | _O_EXCL * (b"x" in rest)

    def _of_descriptor(self, descriptor: int, flags: int) -> int:
        return self._add(self._stream(descriptor, flags))

    def _stream(self, descriptor: int, flags: int) -> CStream:
        access = flags & _O_ACCMODE
        return CStream(
            self.library,
            descriptor,
            readable=access != O_WRONLY,
            writable=access != 0,
            appends=flags & O_APPEND != 0,
        )

    def _add(self, stream: CStream) -> int:
        address = self.library.heap.allocate(FILE_SIZE)
        self.library.memory.write(address, bytes(FILE_SIZE))
        self._streams[address] = stream
        self._show(address)
        return address

    def _flushed(self, stream: CStream) -> None:
        try:
            stream.flush()
        except PlatformError:
            stream.error = True

    def _close(self, address: int, stream: CStream) -> None:
        del self._streams[address]
        if address not in self._standard.values():
            self.library.heap.free(address)
        self.library.files.close(stream.descriptor)
