"""Named capabilities: what the contract asks of a provider and a provider may do without.

A provider says what it lacks, ``PluginDescription(lacks=frozenset({Capability.FILE_BACKING}))``;
the conformance suites then skip, with that reason, what only such a provider can do. What has no
name here is asked of every provider. Nothing else reads them: a provider that lacks something
refuses it when it is asked, by a :class:`~theseus_kit.errors.PlatformError`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theseus_kit.hookspecs import Group


class Capability(Enum):
    """``<group>.<name>``: the group whose providers it concerns, and what the name stands for."""

    EXACT_PLACEMENT = "memory-mapping.exact-placement"
    """A place that is taken is refused; without, the mapping goes elsewhere."""
    PLACEMENT_BOUNDS = "memory-mapping.placement-bounds"
    """Mappings can be placed within a range of addresses."""
    PARTIAL_RANGES = "memory-mapping.partial-ranges"
    """Protecting and unmapping change just the pages asked for, and not the whole mapping."""
    LENIENT_UNMAP = "memory-mapping.lenient-unmap"
    """Unmapping what is not mapped is no error."""
    FILE_BACKING = "memory-mapping.file-backing"
    """Pages can hold a host file's bytes."""
    MAX_PROTECTION = "memory-mapping.max-protection"
    """A request's ``max_protection`` bounds later changes."""
    RETURNS_MEMORY = "memory-mapping.returns-memory"
    """Discarded pages give their memory back to the host."""
    LOCKING = "memory-mapping.locking"
    """Locked pages stay in host memory; without, locking checks its range and does nothing."""
    LABELS = "memory-mapping.labels"
    """Queries tell the label, ``guard`` and ``shared`` of a request."""

    LATE_STATIC_MODULES = "thread-local-storage.late-static-modules"
    """Static modules can be added while tasks exist."""
    DYNAMIC_MODULES = "thread-local-storage.dynamic-modules"
    """There are modules whose blocks are made at their first use."""
    MODULE_REMOVAL = "thread-local-storage.module-removal"
    """The blocks of removed modules are freed."""
    DESTRUCTORS_LAST_FIRST = "thread-local-storage.destructors-last-first"
    """Destructors run last registered first, as C++ and Rust's standard library expect."""

    STATIC_SYMBOLS = "symbolication.static-symbols"
    """Functions that an image does not export are found by name, and addresses in them named."""
    DEMANGLING = "symbolication.demangling"
    """Symbols have a demangled name."""
    SOURCE_POSITIONS = "symbolication.source-positions"
    """Symbols have the file, line and column that debug information tells."""
    INLINED_FUNCTIONS = "symbolication.inlined-functions"
    """An address in an inlined function has a symbol for each function it is in."""
    RUNTIME_ELF = "symbolication.runtime-elf"
    """The ELF file that registered run-time code may come with is read."""

    FRAMES_WITHOUT_FRAME_POINTERS = "unwinding.frames-without-frame-pointers"
    """Code that keeps no frame pointer is walked through."""
    RUNTIME_TABLES = "unwinding.runtime-tables"
    """Unwind tables of run-time code are learnt and forgotten."""
    LANDING_PADS = "unwinding.landing-pads"
    """The landing pads of a killed task's frames are run when somebody asks for it."""

    GUEST_EXCEPTIONS = "unwinding.guest-exceptions"
    """What guest code throws passes through Python functions to a guest handler further out."""

    NON_UTF8_NAMES = "path-handling.non-utf8-names"
    """Names that are not UTF-8 can be told, as surrogate escapes."""
    HOST_MOUNTS = "path-handling.host-mounts"
    """Host files and directories can be made visible."""
    MEMORY_MOUNTS = "path-handling.memory-mounts"
    """Trees in memory can be made visible."""
    WRITING = "path-handling.writing"
    """Files can be made, written, renamed and removed."""
    SYMBOLIC_LINKS = "path-handling.symbolic-links"
    """Symbolic links can be made and read, and are followed."""
    HARD_LINKS = "path-handling.hard-links"
    """A file can have a second name."""
    STATUS_CHANGES = "path-handling.status-changes"
    """Permissions and times can be set."""
    OPEN_DIRECTORIES = "path-handling.open-directories"
    """Paths can start at an open directory, bounded by it."""

    KILL_HANDLER_TAKING = "exception-registration.kill-handler-taking"
    """The kill handler can be taken, so it hears of abort() and of failed assertions too."""

    @property
    def group(self) -> Group:
        """The group whose providers it concerns."""
        from theseus_kit.hookspecs import Group

        return Group(self.value.partition(".")[0])
