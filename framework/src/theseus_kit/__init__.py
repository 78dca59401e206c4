"""theseus-kit: the real Wasmtime on a platform made of swappable plugins.

::

    from theseus_kit import assemble

    with assemble(["region", "signals", "backtrace", "path", "tlibc"]) as platform:
        wasmtime = platform.wasmtime
        store = wasmtime.Store()
        ...

This module has the public names; plugins import nothing else of the kit.
"""

from theseus_kit.assembly import BUNDLED, AssemblyReport, assemble
from theseus_kit.errors import (
    AddressInUseError,
    AlreadyRegisteredError,
    AssemblyError,
    DeadlockError,
    GuestError,
    GuestInterrupted,
    GuestKilled,
    ImageError,
    InvalidParameterError,
    LimitReachedError,
    MachineBusyError,
    MachineError,
    MemoryFaultError,
    MissingSymbolError,
    ModuleError,
    NotRegisteredError,
    OutOfMemoryError,
    PlatformError,
    PluginError,
    TaskExit,
    TheseusKitError,
    UnmappedRegionError,
    UsageError,
)
from theseus_kit.hookspecs import GROUPS, Group
from theseus_kit.image import Image, Namespace
from theseus_kit.machine.protocol import Ability, Machine, Memory
from theseus_kit.marks import hookimpl, hookspec
from theseus_kit.platform import Platform
from theseus_kit.plugin import NoOptions, Plugin, PluginDescription, Services, option
from theseus_kit.task import Task, Tasks, WaitQueue

__all__ = [
    "BUNDLED",
    "GROUPS",
    "Ability",
    "AddressInUseError",
    "AlreadyRegisteredError",
    "AssemblyError",
    "AssemblyReport",
    "DeadlockError",
    "Group",
    "GuestError",
    "GuestInterrupted",
    "GuestKilled",
    "Image",
    "ImageError",
    "InvalidParameterError",
    "LimitReachedError",
    "Machine",
    "MachineBusyError",
    "MachineError",
    "Memory",
    "MemoryFaultError",
    "MissingSymbolError",
    "ModuleError",
    "Namespace",
    "NoOptions",
    "NotRegisteredError",
    "OutOfMemoryError",
    "Platform",
    "PlatformError",
    "Plugin",
    "PluginDescription",
    "PluginError",
    "Services",
    "Task",
    "TaskExit",
    "Tasks",
    "TheseusKitError",
    "UnmappedRegionError",
    "UsageError",
    "WaitQueue",
    "assemble",
    "hookimpl",
    "hookspec",
    "option",
]
