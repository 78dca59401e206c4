"""What the command line says of a run that ended badly: a trap, another error, a killed guest.

Results are stdout's; everything here goes to stderr. As text it is Wasmtime's own message, with the
WebAssembly frames, and then, if asked for, every frame of the machine. As JSON it is one object on
one line, the last line of stderr.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from theseus_kit.cli.backtrace import (
    backtrace_lines,
    entry_as_json,
    exception_as_json,
    stuck_as_json,
    stuck_lines,
)
from theseus_kit.errors import DeadlockError, GuestKilled, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit.platform import Platform
    from theseus_kit.postmortem.watch import ExceptionWatch
    from theseus_kit.values.exceptions import ExceptionContext
    from theseus_kit.values.symbols import BacktraceEntry

Depth = Literal["wasm", "full"]


class Reporter:
    """Says how a platform's run ended.

    ``watch`` is its plugin that looked at exceptions, None if nobody wished to know more than the
    message. With ``as_json`` there is no text. ``core`` is the core file that was asked for.
    """

    def __init__(
        self,
        platform: Platform,
        watch: ExceptionWatch | None,
        depth: Depth = "wasm",
        *,
        as_json: bool = False,
        core: Path | None = None,
    ) -> None:
        self._platform = platform
        self._watch = watch
        self._depth = depth
        self._as_json = as_json
        self._core = core

    def error(self, error: Exception) -> None:
        """Say that a call failed with Wasmtime's Trap or WasmtimeError."""
        watch = self._watch
        last = None if watch is None else watch.last
        entries = () if watch is None else watch.entries()
        core = None
        if watch is not None and self._core is not None:
            if last is None:
                _print("no core file: Wasmtime raised the error without a CPU exception")
            elif watch.core_error is not None:
                _print(f"theseus-kit: {watch.core_error}")
            else:
                core = self._core
        if self._as_json:
            code = getattr(error, "trap_code", None)
            self._print_json(
                "error" if code is None else "trap",
                str(error),
                entries,
                None if last is None else last.context,
                core,
                code=None if code is None else code.name.lower().replace("_", "-"),
                wasm_frames=[_wasm_frame(frame) for frame in getattr(error, "frames", ())],
            )
            return
        _print(f"theseus-kit: {error}")
        if self._depth == "full":
            _print_frames(entries)
        self._say_of_core(core)

    def killed(self, killed: GuestKilled) -> None:
        """Say that the guest was killed."""
        core = self._core
        if core is not None:
            try:
                self._platform.write_core(core, killed)
            except UsageError as error:
                _print(f"theseus-kit: {error}")
                core = None
        if self._as_json:
            self._print_json(
                "killed",
                str(killed),
                killed.backtrace,
                killed.context,
                core,
                reason=str(killed.reason),
                task=None if killed.task is None else killed.task.name,
                **_tasks_of(killed),
            )
            return
        of_task = ""
        if killed.task is not None and killed.task is not self._platform.tasks.main:
            of_task = f" of task {killed.task.id} ({killed.task.name})"
        _print(f"theseus-kit: {killed}")
        if isinstance(killed, DeadlockError):
            _print("\n".join(stuck_lines(killed)))
        else:
            _print_frames(killed.backtrace, of_task)
        self._say_of_core(core)

    def _print_json(
        self,
        kind: str,
        message: str,
        entries: Sequence[BacktraceEntry],
        context: ExceptionContext | None,
        core: Path | None,
        **more: Any,
    ) -> None:
        import json

        report = {
            "kind": kind,
            "message": message,
            **more,
            "exception": None if context is None else exception_as_json(context),
            "frames": [entry_as_json(entry) for entry in entries],
            "core": None if core is None else str(core),
        }
        _print(json.dumps(report))

    def _say_of_core(self, core: Path | None) -> None:
        if core is not None:
            images = self._platform.namespace.images
            image = images[0].path if images else "IMAGE"
            _print(f"core file: {core}; look at it with: gdb {image} {core}")


def _tasks_of(killed: GuestKilled) -> dict[str, Any]:
    if not isinstance(killed, DeadlockError):
        return {}
    return {"tasks": [stuck_as_json(task) for task in killed.stuck]}


def _print_frames(entries: Sequence[BacktraceEntry], of_task: str = "") -> None:
    if entries:
        _print(f"machine backtrace{of_task}:")
        _print("\n".join(backtrace_lines(entries)))
    else:
        _print("machine backtrace: none, there was no CPU exception")


def _wasm_frame(frame: Any) -> dict[str, Any]:
    return {
        "function_index": frame.func_index,
        "function": frame.func_name,
        "module": frame.module_name,
        "module_offset": frame.module_offset,
        "function_offset": frame.func_offset,
    }


def _print(text: str) -> None:
    print(text, file=sys.stderr)
