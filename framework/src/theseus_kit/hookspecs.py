"""The contract: every question the platform asks of its plugins.

A group is a class below. Exactly one plugin of an assembly *provides* a group: it implements every
hook of it that is not marked optional. Any plugin may *wrap* any hook
(``@hookimpl(wrapper=True)``) to watch or to alter the answers. The open hooks at the end may be
implemented by any number of plugins. Arguments are passed by name; an implementation may leave
out those it does not use. The value types are in :mod:`theseus_kit.values`; a provider says no
by raising a :class:`~theseus_kit.errors.PlatformError`, whose errno reaches C callers.

Addresses are guest virtual addresses, sizes bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from theseus_kit.marks import PROJECT as PROJECT
from theseus_kit.marks import hookimpl as hookimpl
from theseus_kit.marks import hookspec, optional

if TYPE_CHECKING:  # annotations are for readers and type checkers; nothing here needs the types
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path as HostPath

    from theseus_kit.errors import GuestUnwinding
    from theseus_kit.image import Image
    from theseus_kit.task import Task
    from theseus_kit.values import paths
    from theseus_kit.values.exceptions import (
        ExceptionCategory,
        ExceptionContext,
        ExceptionHandler,
        ExceptionOutcome,
        KillHandler,
        KillReason,
        Registers,
    )
    from theseus_kit.values.linkage import CFunction, CObject, SystemCall
    from theseus_kit.values.memory import AddressRange, MapRequest, Protection, Region
    from theseus_kit.values.symbols import Frame, RuntimeCode, Symbol
    from theseus_kit.values.tls import TlsTemplate


class Group(Enum):
    """The groups of hooks; each has exactly one provider in an assembly."""

    MEMORY_MAPPING = "memory-mapping"
    THREAD_LOCAL_STORAGE = "thread-local-storage"
    SYMBOLICATION = "symbolication"
    UNWINDING = "unwinding"
    PATH_HANDLING = "path-handling"
    EXCEPTION_REGISTRATION = "exception-registration"
    C_LIBRARY = "c-library"


class MemoryMapping:
    """What region-rs and mmap ask. Ranges are rounded out to whole pages, as region-rs does."""

    @hookspec(firstresult=True)
    def memory_map(self, request: MapRequest) -> Region:
        """Map new pages and return them; reserving costs nothing until pages are touched.

        Raises InvalidParameterError, AddressInUseError, OutOfMemoryError.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def memory_protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the protection of pages, splitting regions where the range cuts them.

        Raises UnmappedRegionError if any page of the range is not mapped.
        """

    @hookspec(firstresult=True)
    def memory_unmap(self, address: int, size: int) -> None:
        """Unmap every mapped page of the range; pages that are not mapped are no error."""

    @hookspec(firstresult=True)
    def memory_discard(self, address: int, size: int) -> None:
        """Make pages read as freshly mapped again, and give their memory back to the host."""

    @hookspec(firstresult=True)
    def memory_query(self, address: int) -> Region:
        """Return the region that holds an address. Raises UnmappedRegionError."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def memory_query_range(self, address: int, size: int) -> Sequence[Region]:
        """Return the regions that overlap a range, whole, in order; none if nothing is mapped."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def memory_lock(self, address: int, size: int) -> None:
        """Keep pages in host memory. Raises UnmappedRegionError."""

    @hookspec(firstresult=True)
    def memory_unlock(self, address: int, size: int) -> None:
        """Undo memory_lock. Raises UnmappedRegionError."""


class ThreadLocalStorage:
    """Per-task variables: ELF TLS modules, dynamic keys, destructors (ELF TLS ABI, variant II)."""

    @hookspec(firstresult=True)
    def tls_add_module(self, template: TlsTemplate) -> int:
        """Register an image's TLS template and return its module number, 1 or more."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_remove_module(self, module: int) -> None:
        """Forget a module and free its blocks in every task. Raises NotRegisteredError."""

    @hookspec(firstresult=True)
    def tls_static_offset(self, module: int) -> int:
        """Return the (negative) offset of a static module's block from the thread pointer.

        Raises InvalidParameterError for a module that was not registered as static.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_create_area(self, task: Task) -> int:
        """Make a task's thread control block and static blocks; return its FS base.

        The control block holds its own address at fs:0 and fs:0x10 and
        a stack protector's canary at fs:0x28, whose lowest byte is zero.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_destroy_area(self, task: Task) -> None:
        """Free everything the task has in thread-local storage; destructors have run."""

    @hookspec(firstresult=True)
    def tls_address(self, task: Task, module: int, offset: int) -> int:
        """Return the address of a variable, making the task's block at its first use."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_key_create(self, destructor: int) -> int:
        """Make a dynamic key; ``destructor`` is a guest function's address, or 0."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_key_delete(self, key: int) -> None:
        """Delete a key without running its destructor. Raises InvalidParameterError."""

    @hookspec(firstresult=True)
    def tls_key_get(self, task: Task, key: int) -> int:
        """Return the task's value of a key, 0 where it was never set."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def tls_key_set(self, task: Task, key: int, value: int) -> None:
        """Set the task's value of a key. Raises InvalidParameterError."""

    @hookspec(firstresult=True)
    def tls_add_destructor(self, task: Task, function: int, argument: int) -> None:
        """Have ``function(argument)`` called when the task ends."""

    @hookspec(firstresult=True)
    def tls_run_destructors(self, task: Task) -> None:
        """Run the ending task's destructors, then those of its keys' values."""


class Symbolication:
    """From names to addresses and back, for loaded images and for run-time code."""

    @hookspec(firstresult=True)
    def symbol_lookup(self, name: str) -> Symbol | None:
        """Find a symbol of any loaded image by its mangled name; offset is 0. None if unknown."""

    @hookspec(firstresult=True)
    def symbolicate(self, address: int) -> Sequence[Symbol]:
        """Name an address, innermost inlined function first; empty if nothing holds it."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def symbols_register(self, code: RuntimeCode) -> None:
        """Learn the symbols of run-time code. Raises AlreadyRegisteredError."""

    @hookspec(firstresult=True)
    def symbols_unregister(self, text_start: int) -> None:
        """Forget run-time code by the start of its text. Raises NotRegisteredError."""


class Unwinding:
    """Walking stacks, and going up them through landing pads.

    Its provider offers images the C functions over these too, by ``c_symbols``: Wasmtime calls
    __register_frame and __deregister_frame, code that throws _Unwind_RaiseException and its kin.
    """

    @hookspec(firstresult=True)
    def unwind_frames(
        self, registers: Registers, stack: AddressRange, is_exact: bool
    ) -> Iterator[Frame]:
        """Walk the frames from a register state, innermost first, lazily.

        ``is_exact`` says that ``registers.rip`` is the very instruction (of a fault), and not the
        return address after a call. The walk ends at the stack's end, and where it can
        make no sense of what it finds; it never raises for the guest's sake.
        """
        raise NotImplementedError

    @optional
    @hookspec(firstresult=True)
    def unwind_register_tables(self, frame_table: int) -> None:
        """Learn the .eh_frame section at ``frame_table``, which describes run-time code.

        Raises AlreadyRegisteredError.
        """

    @optional
    @hookspec(firstresult=True)
    def unwind_unregister_tables(self, frame_table: int) -> None:
        """Forget a table of run-time code. Raises NotRegisteredError."""

    @optional
    @hookspec(firstresult=True)
    def unwind_resume(
        self,
        task: Task,
        registers: Registers,
        is_exact: bool,
        reason: KillReason,
        is_requested: bool,
    ) -> bool | None:
        """Run the landing pads of a killed task's frames, innermost first, before they go.

        From a register state to the entry of the guest call it is in; asked once for each call
        that the kill leaves, so nothing is reported or run twice. ``is_requested``: Python waits
        for the kill in ``catch_unwind`` or made it by ``resume_unwind``; else whether to clean up
        is the provider's choice. True: every landing pad has run; False: one did not come to its
        end, or guest code cannot be called now; None: nothing was to be run.
        """

    @optional
    @hookspec(firstresult=True)
    def unwind_continue(self, unwinding: GuestUnwinding, registers: Registers | None) -> int:
        """Take up a guest's exception where the Python function that it passed through ends.

        Inside an export ``registers`` is None, and the answer is what the export has to return
        for the guest to go on in its landing pad; in an exception handler they are the registers
        that the task resumes with, to be changed. Raises GuestUnwinding to go on further out.
        """
        raise NotImplementedError


class PathHandling:
    """What a path is, and what it names. Nothing outside the mounts can be reached.

    A Location is a path from the namespace's root, or one from an open directory. Each look-up
    raises PlatformError with the errno of the system call it is likened to.
    """

    @hookspec(firstresult=True)
    def path_parse(self, text: str) -> paths.PlatformPath:
        """Make a path of its text. Bytes that are not UTF-8 stand as surrogate escapes."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_from_host(self, path: HostPath) -> paths.PlatformPath:
        """Convert a host path, textually."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_to_host(self, path: paths.PlatformPath) -> HostPath:
        """Convert a platform path, textually."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_mount(self, mount: paths.Mount | paths.MemoryMount) -> None:
        """Make a host file or directory, or a tree in memory, visible (ENOENT, EEXIST)."""

    @hookspec(firstresult=True)
    def path_unmount(self, target: str) -> None:
        """Take a mount away; files already open stay open. Raises PlatformError (ENOENT)."""

    @hookspec(firstresult=True)
    def path_resolve(self, path: paths.Location, follow: bool) -> paths.PlatformPath:
        """Resolve to an absolute path without ``.``, ``..`` or symbolic links, of what exists."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_open(
        self, path: paths.Location, mode: paths.OpenMode, permissions: int
    ) -> paths.OpenFile:
        """Open a file or directory, as open(2); permissions count where a file is created."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_status(self, path: paths.Location, follow: bool) -> paths.FileStatus:
        """Tell what is at a path, as stat(2) or, without ``follow``, lstat(2)."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_change(self, path: paths.Location, change: paths.StatusChange, follow: bool) -> None:
        """Change permissions or times, as chmod(2), utimensat(2); EOPNOTSUPP for a link's own."""

    @hookspec(firstresult=True)
    def path_list(self, path: paths.Location) -> Sequence[paths.DirectoryEntry]:
        """List a directory without ``.`` and ``..``, sorted by name. Raises as opendir(3)."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_create_directory(self, path: paths.Location, permissions: int) -> None:
        """Create one directory, as mkdir(2)."""

    @hookspec(firstresult=True)
    def path_create_link(self, path: paths.Location, text: str) -> None:
        """Create a symbolic link that holds ``text``, as symlink(2); the text is not looked up."""

    @hookspec(firstresult=True)
    def path_read_link(self, path: paths.Location) -> str:
        """Return the text of a symbolic link, as readlink(2); EINVAL for what is none."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def path_link(self, source: paths.Location, target: paths.Location, follow: bool) -> None:
        """Give a file a second name within one mount, as linkat(2); ``follow`` is the source's."""

    @hookspec(firstresult=True)
    def path_rename(self, source: paths.Location, target: paths.Location) -> None:
        """Rename atomically within one mount, as rename(2); EXDEV across mounts."""

    @hookspec(firstresult=True)
    def path_remove(self, path: paths.Location, directory: bool) -> None:
        """Remove an empty directory, as rmdir(2), or else a file or a link, as unlink(2)."""


class ExceptionRegistration:
    """Handlers of CPU exceptions: one slot per task and category, as Theseus has it."""

    @hookspec(firstresult=True)
    def exception_register(
        self, task: Task, category: ExceptionCategory, handler: ExceptionHandler
    ) -> None:
        """Fill an empty slot. Raises AlreadyRegisteredError, and the old handler stays."""

    @hookspec(firstresult=True)
    def exception_take(self, task: Task, category: ExceptionCategory) -> ExceptionHandler | None:
        """Empty a slot and return what was in it, None if it was empty."""

    @hookspec(firstresult=True)
    def exception_set_kill_handler(self, task: Task, handler: KillHandler | None) -> None:
        """Set the task's kill handler, silently replacing an earlier one; None removes it."""

    @optional
    @hookspec(firstresult=True)
    def exception_take_kill_handler(self, task: Task) -> KillHandler | None:
        """Take the task's kill handler away and return it, None if it has none.

        Asked when a task's own code gives up (a panic, abort()), so that the handler is told of
        that too, before the task's frames are dropped.
        """

    @hookspec(firstresult=True)
    def exception_dispatch(self, task: Task, context: ExceptionContext) -> ExceptionOutcome:
        """Answer a CPU exception: run the task's handlers in order, then resume or kill."""
        raise NotImplementedError


class CLibrary:
    """The C face's own state. Its functions come through the open hooks below."""

    @hookspec(firstresult=True)
    def errno_set(self, task: Task, value: int) -> None:
        """Set the task's C errno."""


class Open:
    """Hooks that any number of plugins may implement; the assembly's order is theirs."""

    @hookspec(firstresult=True)
    def c_symbols(self, plugin: str) -> Iterable[CFunction | CObject]:
        """Offer C functions and variables to images; of equal names the first plugin's counts.

        Each plugin is asked in turn, ``plugin`` being its name. A wrapper is called around each
        answer and returns what images get: to watch or alter a function it replaces the ``body``,
        and ``machine_code`` by None.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def system_calls(self, plugin: str) -> Iterable[SystemCall]:
        """Offer Linux system calls, as c_symbols; of equal numbers the first plugin's counts."""
        raise NotImplementedError

    @hookspec
    def system_call_unanswered(self, number: int, arguments: Sequence[int]) -> None:
        """Told of a system call that no plugin serves, before the guest gets ENOSYS."""

    @hookspec
    def image_loaded(self, image: Image) -> None:
        """Told when an image was mapped and relocated, before its constructors run."""

    @hookspec
    def image_unloaded(self, image: Image) -> None:
        """Told when an image's finalisers have run, before its memory goes."""

    @hookspec
    def task_started(self, task: Task) -> None:
        """Told when a task exists, with its stack and FS base, before it runs guest code."""

    @hookspec
    def task_ended(self, task: Task) -> None:
        """Told when a task will run no more guest code, before its stack goes."""

    @hookspec
    def platform_closed(self) -> None:
        """Told once, last, before the machine goes: give back what the host lent.

        Files above all: the command line's process may end right after, and what waits in a
        buffer of Python's is lost then.
        """


GROUPS: dict[Group, type] = {
    Group.MEMORY_MAPPING: MemoryMapping,
    Group.THREAD_LOCAL_STORAGE: ThreadLocalStorage,
    Group.SYMBOLICATION: Symbolication,
    Group.UNWINDING: Unwinding,
    Group.PATH_HANDLING: PathHandling,
    Group.EXCEPTION_REGISTRATION: ExceptionRegistration,
    Group.C_LIBRARY: CLibrary,
}
"""The hooks of each group, as the class that declares them."""
