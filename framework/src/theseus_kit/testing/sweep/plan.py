"""From a traced run to the faults that are tried, one for each call and place it is made from.

What is failed is what the contract lets fail: C functions that have a way to report an error,
system calls, and hooks that may raise one. A hook that is asked within a C function or a system
call that is failed itself is left out: its caller hears the same error either way. Calls of one
function from one place in the guest are alike; so many of each place are tried, and so many places
of each phase: the function of Wasmtime's C API that is at work.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from theseus_kit.errors import UsageError
from theseus_kit.interception.calls import CallKind, PlatformCall, parse_patterns
from theseus_kit.values.record import NamedTuple

HOOK_ERRORS: dict[str, str] = {
    "memory_map": "ENOMEM",
    "memory_protect": "ENOMEM",
    "memory_discard": "ENOMEM",
    "memory_lock": "ENOMEM",
    "tls_address": "ENOMEM",
    "tls_key_create": "EAGAIN",
    "tls_key_set": "ENOMEM",
    "path_resolve": "EACCES",
    "path_open": "EACCES",
    "path_status": "EACCES",
    "path_change": "EPERM",
    "path_list": "EACCES",
    "path_create_directory": "ENOSPC",
    "path_create_link": "ENOSPC",
    "path_read_link": "EACCES",
    "path_link": "ENOSPC",
    "path_rename": "EACCES",
    "path_remove": "EACCES",
}
"""The hooks that may say no on a sound platform, and what they then say."""

_ERRORS: dict[str, tuple[str, ...]] = {
    "ENOMEM": (
        *("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "strdup"),
        *("mmap", "mmap64", "munmap", "mprotect", "mremap", "madvise", "mlock", "sigaltstack"),
        *("pthread_attr_init", "pthread_getattr_np", "pthread_setspecific"),
    ),
    "EAGAIN": ("pthread_create", "pthread_key_create", "clone", "clone3"),
    "EMFILE": (
        *("open", "open64", "openat", "openat64", "openat2", "creat", "dup", "dup2", "dup3"),
        *("pipe", "pipe2", "socket", "eventfd", "eventfd2", "epoll_create1", "memfd_create"),
        *("timerfd_create", "fcntl", "fcntl64"),
    ),
    "EIO": (
        *("read", "write", "readv", "writev", "pread", "pwrite", "pread64", "pwrite64", "close"),
        *("fsync", "fdatasync", "ftruncate", "ftruncate64", "getdents64", "lseek", "lseek64"),
        *("fstat", "fstat64", "statx", "stat", "lstat", "readlink"),
    ),
    "ENOSYS": ("getrandom", "getentropy", "clock_gettime", "sched_getaffinity", "futex"),
    "EACCES": ("mkdir", "mkdirat", "rename", "renameat", "unlink", "unlinkat", "realpath"),
}
_ERROR_OF = {name: error for error, names in _ERRORS.items() for name in names}
_OTHERWISE = "EINVAL"
_PASS_ON = frozenset(["syscall"])
"""C functions that do nothing but make another call, which is failed itself."""

NO_GUEST = "(platform)"
"""The phase of calls that no guest code is behind: loading, making tasks."""


class Fault(NamedTuple):
    """One call that is made to fail in one run."""

    call: str
    """``syscall.mmap``"""
    occurrence: int
    """The how manieth call of it, from 1."""
    errno: str
    phase: str
    """The function of Wasmtime's C API, or of whatever the target calls, that it serves."""
    frames: tuple[str, ...]
    """The guest's functions that lead there, innermost first."""
    alike: int = 1
    """How many calls of the traced run come from there."""

    @property
    def rule(self) -> str:
        """As the plugin ``inject`` takes it."""
        return f"{self.call}:{self.occurrence}={self.errno}"


class Plan(NamedTuple):
    """What is tried, and what a run's calls are."""

    faults: tuple[Fault, ...]
    calls: Mapping[str, int]
    """How often each call was made in the traced run, those that are not failed too."""
    left_out: int
    """Places that were not tried, because of the limit for one phase."""


def make_plan(
    trace: Path,
    reports_errors: Iterable[str],
    *,
    per_site: int,
    per_phase: int,
    error: str | None = None,
    only: str = "*",
) -> Plan:
    """Choose faults from a trace in JSON lines that has frames.

    ``per_site``: calls tried of each place; ``per_phase``: places tried of each function within
    each phase, evenly spread where there are more; ``error``: the error number of all, by name;
    ``only``: patterns of the calls that are failed. Raises UsageError.
    """
    patterns = parse_patterns(only)
    if error is not None and error not in errno.errorcode.values():
        raise UsageError(f"--errno {error}: no error number has this name: write it as ENOMEM")
    records = sorted(_read(trace), key=lambda record: int(record["number"]))
    by_number = {record["number"]: record for record in records}
    can_report = frozenset(reports_errors)
    counts: Counter[str] = Counter()
    sites: dict[tuple[str, tuple[str, ...]], list[Fault]] = {}
    for record in records:
        label = f"{record['kind']}.{record['name']}"
        counts[label] += 1
        wanted = PlatformCall(CallKind(record["kind"]), record["name"])
        if not any(pattern.matches(wanted) for pattern in patterns):
            continue
        if not _may_fail(record, can_report) or _is_within_another(record, by_number, can_report):
            continue
        frames = tuple(record.get("frames", ()))
        sites.setdefault((label, frames), []).append(
            Fault(
                label,
                counts[label],
                error or _error_of(record),
                frames[-1] if frames else NO_GUEST,
                frames,
            )
        )
    chosen: list[Fault] = []
    left_out = 0
    phases: dict[tuple[str, str], list[list[Fault]]] = {}
    for alike in sites.values():
        phases.setdefault((alike[0].call, alike[0].phase), []).append(alike)
    for places in phases.values():
        kept = _spread(places, per_phase)
        left_out += len(places) - len(kept)
        for alike in kept:
            chosen += [fault._replace(alike=len(alike)) for fault in alike[:per_site]]
    return Plan(tuple(chosen), dict(sorted(counts.items())), left_out)


def _read(trace: Path) -> Iterable[dict[str, Any]]:
    with trace.open() as file:
        for line in file:
            yield json.loads(line)


def _may_fail(record: Mapping[str, Any], can_report: frozenset[str]) -> bool:
    kind, name = record["kind"], record["name"]
    if kind == "hook":
        return name in HOOK_ERRORS
    return kind == "syscall" or (name in can_report and name not in _PASS_ON)


def _is_within_another(
    record: Mapping[str, Any],
    by_number: Mapping[int, Mapping[str, Any]],
    can_report: frozenset[str],
) -> bool:
    """Whether it is a hook asked by a function that is failed itself."""
    while record["kind"] == "hook":
        outer = by_number.get(record["parent"] or 0)
        if outer is None:
            return False
        if _may_fail(outer, can_report):
            return True
        record = outer
    return False


def _error_of(record: Mapping[str, Any]) -> str:
    name = record["name"]
    if record["kind"] == "hook":
        return HOOK_ERRORS[name]
    return _ERROR_OF.get(name.removeprefix("__"), _OTHERWISE)


def _spread(places: list[list[Fault]], most: int) -> list[list[Fault]]:
    """At most so many of them, evenly from first to last."""
    if len(places) <= most:
        return places
    if most == 1:
        return places[:1]
    step = (len(places) - 1) / (most - 1)
    return [places[round(step * number)] for number in range(most)]
