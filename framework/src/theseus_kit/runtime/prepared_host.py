"""Host functions that the guest calls with everything prepared: plain numbers in and out.

An ordinary host function of wasmtime-py is called through a trampoline that turns tagged values
into Python's and back. Here the numbers are read straight from the buffer that the compiled code
hands to ``wasmtime_func_unchecked_callback_t``, and the results are written over them
(:mod:`.prepared` has its layout).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from theseus_kit.runtime.prepared_code import (
    FORMATS,
    MASKS,
    Compiler,
    address_of_pointer,
    names_of,
    numbers,
    packing,
)

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.package import PrivatePackage


class HostFunctionPreparer:
    """Makes prepared host functions for one runtime."""

    def __init__(self, machine: Machine, library: GuestLibrary, package: PrivatePackage) -> None:
        self._machine = machine
        self._library = library
        self._wasmtime = package.load()
        self._ffi: Any = package.load("wasmtime._ffi")
        self._func: Any = package.load("wasmtime._func")
        self._compiler = Compiler()
        self._exports = _HostFunctionExports(machine, library)

    def prepare(self, store: Any, kind: Any, function: Callable[..., Any]) -> Any:
        """Return a ``Func`` of type ``kind`` that calls ``function`` with plain numbers.

        Several results are returned as a sequence. What ``function`` raises ends the wasm call and
        comes out of it unchanged. Raises ModuleError if ``kind`` has anything but i32, i64, f32
        and f64.
        """
        parameters, results = numbers(kind.params), numbers(kind.results)
        entry = self._host_entry(function, parameters, results)
        address, number = self._exports.add(entry, getattr(function, "__qualname__", "function"))
        made = self._ffi.wasmtime_func_t()
        self._ffi.wasmtime_func_new_unchecked(
            store._context(),
            kind.ptr(),
            self._ffi.wasmtime_func_unchecked_callback_t(address),
            number,
            self._exports.finalizer,
            ctypes.byref(made),
        )
        return self._wasmtime.Func._from_raw(made)

    def _host_entry(
        self, function: Callable[..., Any], parameters: Sequence[str], results: Sequence[str]
    ) -> Callable[..., int]:
        names = names_of("argument", len(parameters))
        outcomes = names_of("result", len(results))
        packed = "".join(
            f", {name}{MASKS[kind]}" for name, kind in zip(outcomes, results, strict=True)
        )
        lines = [
            "def entry(environment, caller, values, count):",
            "    nesting = library.nesting",
            "    library.nesting = nesting + 1",
            "    try:",
        ]
        if names:
            lines.append(f"        {', '.join(names)}, = unpack(view, values)")
        if outcomes:
            comma = "," if len(outcomes) > 1 else ""
            lines.append(f"        {', '.join(outcomes)}{comma} = function({', '.join(names)})")
            lines.append(f"        pack(view, values{packed})")
        else:
            lines.append(f"        if function({', '.join(names)}) is not None: raise surplus()")
        lines += [
            "    except BaseException as error:",
            "        return fail(error)",
            "    finally:",
            "        library.nesting = nesting",
            "    return 0",
        ]

        def fail(error: BaseException) -> int:
            self._func.LAST_EXCEPTION = error
            return address_of_pointer(self._wasmtime.Trap("python exception")._consume())

        return self._compiler.compile(
            lines,
            fail=fail,
            function=function,
            library=self._library,
            pack=packing("".join(FORMATS[kind][0] for kind in results)).pack_into,
            surplus=lambda: self._wasmtime.WasmtimeError(
                "callback produced results when it shouldn't"
            ),
            unpack=packing("".join(FORMATS[kind][1] for kind in parameters)).unpack_from,
            view=self._machine.memory.view,
        )


class _HostFunctionExports:
    """The guest addresses of prepared host functions, reused once Wasmtime dropped a function."""

    def __init__(self, machine: Machine, library: Any) -> None:
        self._machine = machine
        self._addresses: list[int] = []
        self._free: list[int] = []
        finalizer_type = library.wasmtime_func_new_unchecked.argtypes[4]
        self.finalizer = finalizer_type(self._release)

    def add(self, entry: Callable[..., int], name: str) -> tuple[int, int]:
        """Return the entry's guest address and the number to give Wasmtime as its environment."""
        if self._free:
            number = self._free.pop()
            self._machine.replace_export(self._addresses[number], entry, 4)
        else:
            number = len(self._addresses)
            self._addresses.append(self._machine.export(entry, 4, reenters=True, name=name))
        return self._addresses[number], number

    def _release(self, environment: int | None) -> None:
        number = environment or 0
        self._machine.replace_export(self._addresses[number], _released, 4)
        self._free.append(number)


def _released(*arguments: int) -> int:
    raise AssertionError("Wasmtime called a host function after it dropped it")
