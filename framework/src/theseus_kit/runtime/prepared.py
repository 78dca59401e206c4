"""Calls between Python and wasm with everything prepared: plain numbers in, plain numbers out.

An ordinary ``func(store, 1, 2)`` of wasmtime-py reads the function's type, makes an array of tagged
values for the arguments and another for the results, and roots and unroots references: some forty
calls into the library. Here the type is read once, and the arguments are written straight to the
buffer that ``wasmtime_func_call_unchecked`` hands to the compiled code:

    values                          values + 16 * max(parameters, results)
    ┌────────────┬────────────┬─ ─ ─┬──────────────┬────────────────────┐
    │ argument 0 │ argument 1 │     │ trap pointer │ the function       │
    │ result 0   │ result 1   │     │ 8 bytes      │ (wasmtime_func_t)  │
    └────────────┴────────────┴─ ─ ─┴──────────────┴────────────────────┘
      wasmtime_val_raw_t, 16 bytes each

Only numbers can be passed this way: a reference must be rooted first, which the ordinary call does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import GuestError, ModuleError
from theseus_kit.runtime.library import NotNowError

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.package import PrivatePackage

VALUE_SIZE = 16
"""Bytes of a wasmtime_val_raw_t: as many as its largest member, a v128, has."""

_FORMATS = {
    "i32": ("I12x", "i12x"),
    "i64": ("Q8x", "q8x"),
    "f32": ("f12x",) * 2,
    "f64": ("d8x",) * 2,
}
"""How struct packs and unpacks a number. wasm's integers have no sign: any Python int goes in,
cut to the type's width, and they come out signed, as wasmtime-py returns them."""

_MASKS = {"i32": " & 0xFFFFFFFF", "i64": " & 0xFFFFFFFFFFFFFFFF", "f32": "", "f64": ""}


class Preparer:
    """Makes prepared functions for one runtime."""

    def __init__(self, machine: Machine, library: GuestLibrary, package: PrivatePackage) -> None:
        self._machine = machine
        self._library = library
        self._wasmtime = package.load()
        self._ffi: Any = package.load("wasmtime._ffi")
        self._func: Any = package.load("wasmtime._func")
        self._exports = _HostFunctionExports(machine, library)

    def prepare(self, store: Any, function: Any) -> Callable[..., Any]:
        """Return a callable that takes the function's arguments and returns its result.

        One result comes as a number, several as a tuple, none as None. The callable raises what
        calling the function would: Trap, WasmtimeError, what a Python host function raised;
        TypeError for a wrong argument. It may call itself through a host function. Raises
        ModuleError if the function takes or returns anything but i32, i64, f32 and f64.
        """
        kind = function.type(store)
        parameters, results = _numbers(kind.params), _numbers(kind.results)
        width = VALUE_SIZE * max(len(parameters), len(results))
        memory = _GuestBytes(self._ffi, width + 8 + ctypes.sizeof(self._ffi.wasmtime_func_t))
        view, values = self._machine.memory.view, memory.address
        trap_slot, function_slot = values + width, values + width + 8
        view[values:function_slot] = bytes(width + 8)
        ctypes.memmove(
            function_slot,
            ctypes.addressof(function._func),
            ctypes.sizeof(self._ffi.wasmtime_func_t),
        )
        context = _address(store._context())
        enter = self._machine.prepare_call(
            self._library.address_of("wasmtime_func_call_unchecked"),
            (context, function_slot, values, width // VALUE_SIZE, trap_slot),
        )
        padding = VALUE_SIZE * (max(len(parameters), len(results)) - len(results))

        def fail(error: int, trap: int) -> BaseException:
            Struct("<Q").pack_into(view, trap_slot, 0)
            return self._failure(error, trap)

        names = [f"argument{index}" for index in range(len(parameters))]
        outcomes = [f"result{index}" for index in range(len(results))]
        packed = "".join(
            f", {name}{_MASKS[kind]}" for name, kind in zip(names, parameters, strict=True)
        )
        lines = [
            f"def prepared({', '.join(names)}):",
            "    if not acquire(blocking=False): raise NotNow(in_use)",
            "    kept = len(errors)",
            "    try:",
            "        if not machine.can_call: raise NotNow(cannot_call)",
            "        check_store()",
            "        if deferred: run_deferred()",
            *_guarded(f"pack(view, values{packed})", bool(names)),
            "        error = enter()",
            "        if len(errors) > kept: raise_kept(kept)",
            f"        {', '.join([*outcomes, 'trap'])}, = unpack(view, values)",
            "        if error or trap: raise fail(error, trap)",
            f"        return {_returned(outcomes)}",
            "    except GuestError:",
            "        del errors[kept:]",
            "        raise",
            "    finally:",
            "        release()",
        ]
        return _compile(
            lines,
            "prepared",
            GuestError=GuestError,
            NotNow=NotNowError,
            acquire=self._library.lock.acquire,
            cannot_call="prepared call: guest code cannot be called now",
            check_store=store._context,
            deferred=self._library.deferred,
            run_deferred=self._library.run_deferred,
            enter=enter,
            errors=self._library.errors,
            fail=fail,
            in_use="prepared call: another thread is using this platform",
            keep=memory,
            machine=self._machine,
            pack=Struct("<" + "".join(_FORMATS[kind][0] for kind in parameters)).pack_into,
            raise_kept=self._library.raise_kept,
            release=self._library.lock.release,
            unpack=Struct(
                "<" + "".join(_FORMATS[kind][1] for kind in results) + f"{padding}xQ"
            ).unpack_from,
            values=values,
            view=view,
        )

    def prepare_host_function(self, store: Any, kind: Any, function: Callable[..., Any]) -> Any:
        """Return a ``Func`` of type ``kind`` that calls ``function`` with plain numbers.

        Several results are returned as a sequence. What ``function`` raises ends the wasm call and
        comes out of it unchanged. Raises ModuleError if ``kind`` has anything but i32, i64, f32
        and f64.
        """
        parameters, results = _numbers(kind.params), _numbers(kind.results)
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
        names = [f"argument{index}" for index in range(len(parameters))]
        outcomes = [f"result{index}" for index in range(len(results))]
        packed = "".join(
            f", {name}{_MASKS[kind]}" for name, kind in zip(outcomes, results, strict=True)
        )
        lines = ["def entry(environment, caller, values, count):", "    try:"]
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
            "    return 0",
        ]

        def fail(error: BaseException) -> int:
            self._func.LAST_EXCEPTION = error
            return _address(self._wasmtime.Trap("python exception")._consume())

        return _compile(
            lines,
            "entry",
            fail=fail,
            function=function,
            pack=Struct("<" + "".join(_FORMATS[kind][0] for kind in results)).pack_into,
            surplus=lambda: self._wasmtime.WasmtimeError(
                "callback produced results when it shouldn't"
            ),
            unpack=Struct("<" + "".join(_FORMATS[kind][1] for kind in parameters)).unpack_from,
            view=self._machine.memory.view,
        )

    def _failure(self, error: int, trap: int) -> BaseException:
        """Make what wasmtime-py would raise: the host function's own error before all else."""
        wasmtime, ffi = self._wasmtime, self._ffi
        if error:
            made: BaseException = wasmtime.WasmtimeError._from_ptr(
                ctypes.cast(error, ffi.POINTER(ffi.wasmtime_error_t))
            )
        else:
            made = wasmtime.Trap._from_ptr(ctypes.cast(trap, ffi.POINTER(ffi.wasm_trap_t)))
        pending: BaseException | None = self._func.LAST_EXCEPTION
        if pending is None:
            return made
        self._func.LAST_EXCEPTION = None
        return pending


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


class _GuestBytes:
    """Guest memory from the library's own allocator, given back when this object goes."""

    def __init__(self, ffi: Any, size: int) -> None:
        self._delete = ffi.wasm_byte_vec_delete
        self._vector = ffi.wasm_byte_vec_t()
        ffi.wasm_byte_vec_new_uninitialized(ctypes.byref(self._vector), size)
        self.address = _address(self._vector.data)

    def __del__(self) -> None:
        self._delete(ctypes.byref(self._vector))


def _numbers(types: Sequence[Any]) -> list[str]:
    names = [str(kind) for kind in types]
    for name in names:
        if name not in _FORMATS:
            raise ModuleError(f"a prepared function cannot pass {name}: call the Func itself")
    return names


def _guarded(statement: str, wanted: bool) -> list[str]:
    """Return the lines of a statement that packs numbers; struct's error becomes a TypeError."""
    if not wanted:
        return []
    return [
        "        try:",
        f"            {statement}",
        "        except NotANumber as error:",
        "            raise TypeError(str(error)) from None",
    ]


def _returned(outcomes: Sequence[str]) -> str:
    return ", ".join(outcomes) if outcomes else "None"


def _address(pointer: Any) -> int:
    address: int = ctypes.cast(pointer, ctypes.c_void_p).value or 0
    return address


def _compile(lines: Sequence[str], name: str, **names: Any) -> Callable[..., Any]:
    """Make a function of source lines: no loop and no lookup by type is left in it."""
    names["NotANumber"] = struct_error
    exec("\n".join(lines), names)
    made: Callable[..., Any] = names[name]
    return made
