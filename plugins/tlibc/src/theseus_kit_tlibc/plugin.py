"""The plugin: the headers put together, and the hooks they answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription
from theseus_kit.values.linkage import CFunction, CObject, SystemCall
from theseus_kit_tlibc.deferred import Deferred
from theseus_kit_tlibc.deferred_tables import TABLES
from theseus_kit_tlibc.errno import Errno
from theseus_kit_tlibc.fcntl import Fcntl
from theseus_kit_tlibc.futex import Futex
from theseus_kit_tlibc.library import Library, Options
from theseus_kit_tlibc.link import Link
from theseus_kit_tlibc.math import Math
from theseus_kit_tlibc.pthread import Pthread
from theseus_kit_tlibc.pthread_attr import PthreadAttr
from theseus_kit_tlibc.pthread_cancel import PthreadCancel
from theseus_kit_tlibc.pthread_cleanup import PthreadCleanup
from theseus_kit_tlibc.pthread_mutex import Mutexes, PthreadMutex
from theseus_kit_tlibc.pthread_sync import PthreadSync
from theseus_kit_tlibc.sched import Sched
from theseus_kit_tlibc.signal import Signal
from theseus_kit_tlibc.signal_send import SignalSending
from theseus_kit_tlibc.signal_wait import SignalWaiting
from theseus_kit_tlibc.stdio_files import StdioFiles
from theseus_kit_tlibc.stdlib import Stdlib
from theseus_kit_tlibc.stdlib_abort import Abort
from theseus_kit_tlibc.string import String
from theseus_kit_tlibc.sys_epoll import SysEpoll
from theseus_kit_tlibc.sys_eventfd import SysEventfd
from theseus_kit_tlibc.sys_mman import SysMman
from theseus_kit_tlibc.sys_random import SysAuxv, SysRandom
from theseus_kit_tlibc.syscall import Syscall
from theseus_kit_tlibc.time import Time
from theseus_kit_tlibc.tls import TlsAreas
from theseus_kit_tlibc.unistd import Unistd
from theseus_kit_tlibc.unistd_process import UnistdProcess

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.plugin import Services
    from theseus_kit.task import Task
    from theseus_kit.values.tls import TlsTemplate


class CLibraryPlugin(Plugin):
    """libc symbols and Linux system calls in Python; thread-local storage is another plugin's."""

    description = PluginDescription(
        name="c-library",
        version="0.1.0",
        summary="libc symbols and system calls, over any thread-local storage",
        provides=frozenset({Group.C_LIBRARY}),
        options=Options,
    )

    def __init__(self, services: Services, options: Options) -> None:
        super().__init__(services, options)
        own_tls = Group.THREAD_LOCAL_STORAGE in self.description.provides
        self._library = library = Library(services, options)
        self._errno = Errno(library)
        self._signal = Signal(library)
        self._link = Link(library, has_vector=own_tls)
        self._random = SysRandom(library)
        sending = SignalSending(library, self._signal)
        waiting = SignalWaiting(library, self._signal, sending)
        self._cleanup = PthreadCleanup(library)
        self._cancel = PthreadCancel(library, self._cleanup)
        self._stdlib = Stdlib(library)
        fcntl = Fcntl(library)
        self._files = StdioFiles(library, fcntl, self._errno)
        library.at_exit.append(self._files.flush_all)
        mutexes = Mutexes(library)
        self._deferred = Deferred(
            library, TABLES, self._files, self._stdlib, self._link, mutexes, waiting.masked
        )
        futex = Futex(library)
        self._headers = (
            *(String(library), self._stdlib, self._errno, Time(library)),
            *(Unistd(library), UnistdProcess(library), fcntl, SysMman(library), self._signal),
            *(Sched(library), Pthread(library, self._cleanup), self._random, SysAuxv(library)),
            *(self._link, Syscall(library, futex), Math(library), self._files),
            *(sending, waiting, Abort(library, self._signal), self._cleanup, self._cancel, futex),
            *(PthreadAttr(library), PthreadMutex(library, mutexes), PthreadSync(library)),
            *(SysEpoll(library, waiting.masked), SysEventfd(library)),
            self._deferred,
        )

    @hookimpl
    def c_symbols(self) -> Iterable[CFunction | CObject]:
        return [symbol for header in self._headers for symbol in header.symbols()]

    @hookimpl
    def system_calls(self) -> Iterable[SystemCall]:
        return [call for header in self._headers for call in header.system_calls()]

    @hookimpl
    def errno_set(self, task: Task, value: int) -> None:
        self._errno.set(task, value)

    @hookimpl
    def image_loaded(self, image: Image) -> None:
        self._link.image_loaded()
        self._stdlib.publish_environment()

    @hookimpl
    def image_unloaded(self, image: Image) -> None:
        self._link.image_unloaded(image)

    @hookimpl
    def task_started(self, task: Task) -> None:
        self._signal.task_started(task)

    @hookimpl
    def task_ended(self, task: Task) -> None:
        self._signal.task_ended(task)
        self._link.task_ended(task)
        self._cleanup.task_ended(task)
        self._cancel.task_ended(task)
        self._errno.forget(task)

    @hookimpl
    def platform_closed(self) -> None:
        self._files.flush_all()
        self._library.files.close_all()


class TlibcPlugin(CLibraryPlugin):
    """The C library together with thread-local storage as ELF and POSIX want it."""

    description = PluginDescription(
        name="tlibc",
        version="0.1.0",
        summary="libc symbols, system calls and thread-local storage",
        provides=frozenset({Group.C_LIBRARY, Group.THREAD_LOCAL_STORAGE}),
        options=Options,
    )

    def __init__(self, services: Services, options: Options) -> None:
        super().__init__(services, options)
        self._tls = TlsAreas(self._library, self._random.random_bytes)

    @hookimpl
    def tls_add_module(self, template: TlsTemplate) -> int:
        return self._tls.add_module(template)

    @hookimpl
    def tls_remove_module(self, module: int) -> None:
        self._tls.remove_module(module)

    @hookimpl
    def tls_static_offset(self, module: int) -> int:
        return self._tls.static_offset(module)

    @hookimpl
    def tls_create_area(self, task: Task) -> int:
        return self._tls.create_area(task)

    @hookimpl
    def tls_destroy_area(self, task: Task) -> None:
        self._tls.destroy_area(task)

    @hookimpl
    def tls_address(self, task: Task, module: int, offset: int) -> int:
        return self._tls.address(task, module, offset)

    @hookimpl
    def tls_key_create(self, destructor: int) -> int:
        return self._tls.key_create(destructor)

    @hookimpl
    def tls_key_delete(self, key: int) -> None:
        self._tls.key_delete(key)

    @hookimpl
    def tls_key_get(self, task: Task, key: int) -> int:
        return self._tls.key_get(task, key)

    @hookimpl
    def tls_key_set(self, task: Task, key: int, value: int) -> None:
        self._tls.key_set(task, key, value)

    @hookimpl
    def tls_add_destructor(self, task: Task, function: int, argument: int) -> None:
        self._tls.add_destructor(task, function, argument)

    @hookimpl
    def tls_run_destructors(self, task: Task) -> None:
        self._tls.run_destructors(task)
