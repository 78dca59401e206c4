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
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import GuestError, MachineBusyError, ModuleError
from theseus_kit.runtime.guest_function import NotNowError
from theseus_kit.runtime.marshalling import pointer_maker
from theseus_kit.runtime.plain_calls import UNSUITABLE
from theseus_kit.runtime.prepared_code import (
    VALUE_SIZE,
    Compiler,
    address_of_pointer,
    cells_of,
    guarded,
    names_of,
    numbers,
    reads,
    writes,
)
from theseus_kit.runtime.prepared_places import PreparedPlaces

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.package import PrivatePackage


class Preparer:
    """Makes prepared functions for one runtime."""

    def __init__(self, machine: Machine, library: GuestLibrary, package: PrivatePackage) -> None:
        self._machine = machine
        self._library = library
        self._wasmtime = package.load()
        self._ffi: Any = package.load("wasmtime._ffi")
        self._func: Any = package.load("wasmtime._func")
        self._compiler = Compiler()
        self._places = PreparedPlaces(machine, library, self._ffi)
        ffi = self._ffi
        self._error_pointer = pointer_maker(ffi.POINTER(ffi.wasmtime_error_t))
        self._trap_pointer = pointer_maker(ffi.POINTER(ffi.wasm_trap_t))

    def prepare(self, store: Any, function: Any) -> Callable[..., Any]:
        """Return a callable that takes the function's arguments and returns its result.

        One result comes as a number, several as a tuple, none as None. The callable raises what
        calling the function would: Trap, WasmtimeError, what a Python host function raised;
        TypeError for a wrong argument. It may call itself through a host function. Raises
        ModuleError if the function takes or returns anything but i32, i64, f32 and f64.
        """
        kind = function.type(store)
        parameters, results = numbers(kind.params), numbers(kind.results)
        names = names_of("argument", len(parameters))
        return self._compile_call(
            store,
            function,
            (parameters, results),
            [f"def prepared({', '.join(names)}):"],
            ["        check_store()"],
            "raise TypeError(str(error)) from None",
            ", ".join(reads(results)) or "None",
            check_store=store._context,
        )

    def prepare_plain(self, store: Any, function: Any) -> Callable[..., Any] | None:
        """Return what does a ``Func``'s own call where it is a plain one, None if none of them is.

        It takes a store and the tuple of arguments, and answers :data:`~.plain_calls.UNSUITABLE`,
        having done nothing, unless the store is ``store`` (by the address of its context, so that
        nothing here keeps it alive) and every argument is exactly an int where an integer is due
        and a float where a float is.
        """
        kind = function.type(store)
        try:
            parameters, results = numbers(kind.params), numbers(kind.results)
        except ModuleError:
            return None
        names = names_of("argument", len(parameters))
        outcomes = ", ".join(reads(results)) or "None"
        head = [
            "def call_plain(store, arguments):",
            "    if address_of(store._context())[0] != context: return unsuitable",
            f"    if len(arguments) != {len(names)}: return unsuitable",
        ]
        if names:
            head.append(f"    {', '.join(names)}, = arguments")
            wrong = (
                f"type({name}) is not {'float' if kind.startswith('f') else 'int'}"
                for name, kind in zip(names, parameters, strict=True)
            )
            head.append(f"    if {' or '.join(wrong)}: return unsuitable")
        return self._compile_call(
            store,
            function,
            (parameters, results),
            head,
            [],
            "return unsuitable",
            f"[{outcomes}]" if len(results) > 1 else outcomes,
            address_of=Struct("<Q").unpack_from,
            context=address_of_pointer(store._context()),
            unsuitable=UNSUITABLE,
        )

    def _compile_call(
        self,
        store: Any,
        function: Any,
        types: tuple[Sequence[str], Sequence[str]],
        head: Sequence[str],
        checks: Sequence[str],
        not_a_number: str,
        returned: str,
        **names: Any,
    ) -> Callable[..., Any]:
        """Make a function that calls ``function`` with the numbers ``argument0`` and so on.

        ``head`` begins it, ``checks`` run once the guest may be called; ``not_a_number`` is what is
        done about an argument that cannot be packed, ``returned`` the expression of its result.
        """
        parameters, results = types
        slots = max(len(parameters), len(results))
        width = VALUE_SIZE * slots
        # values, the trap's pointer, and the function, as drawn above
        place = self._places.take(
            "wasmtime_func_call_unchecked",
            address_of_pointer(store._context()),
            width + 8 + ctypes.sizeof(function._func),
            lambda address: (address + width + 8, address, slots, address + width),
        )
        view, values = self._machine.memory.view, place.address
        function_slot = values + width + 8
        view[values:function_slot] = bytes(width + 8)
        place.fill(width + 8, function._func)

        cells = cells_of(view[values:function_slot])
        words, trap = cells["words"], f"words[{width // 8}]"

        def fail(error: int, trap: int) -> BaseException:
            words[-1] = 0
            return self._failure(error, trap)

        lines = [
            *head,
            "    if not acquire(False): raise NotNow(in_use)",
            "    kept = len(errors)",
            "    try:",
            "        if library.nesting: library.check_room()",
            "        if machine.is_closed: raise NotNow(closed)",
            *self._thread_check(),
            *checks,
            "        if deferred: run_deferred()",
            *guarded(writes(names_of("argument", len(parameters)), parameters), not_a_number),
            "        error = enter()",
            "        if len(errors) > kept: raise_kept(kept)",
            f"        if error or {trap}: raise fail(error, {trap})",
            f"        return {returned}",
            "    except GuestError:",
            "        del errors[kept:]",
            "        raise",
            "    except MachineBusyError:",
            "        raise refusal(prepared_call) from None",
            "    finally:",
            "        release()",
        ]
        return self._compiler.compile(
            lines,
            GuestError=GuestError,
            MachineBusyError=MachineBusyError,
            NotNow=NotNowError,
            acquire=self._library.lock.acquire,
            closed="prepared call: its platform is closed",
            deferred=self._library.deferred,
            run_deferred=self._library.run_deferred,
            enter=place.enter,
            errors=self._library.errors,
            fail=fail,
            in_use="prepared call: another thread is using this platform",
            keep=place,
            library=self._library,
            machine=self._machine,
            prepared_call="prepared call",
            raise_kept=self._library.raise_kept,
            refusal=self._library.refusal,
            release=self._library.lock.release,
            check_tasks=self._library.check_tasks,
            tasks=self._library.tasks,
            **cells,
            **names,
        )

    def _thread_check(self) -> list[str]:
        """The line that asks whether tasks wait on another host thread; a machine that tells host
        threads apart by itself, as those with direct calls do, needs none."""
        target = self._library.address_of("wasmtime_func_call_unchecked")
        if self._library.tasks is None or self._machine.direct_call(target) is not None:
            return []
        return [
            "        if (place := tasks.place) is not None and not place.is_here: "
            "check_tasks(prepared_call)"
        ]

    def prepare_query(self, store: Any, name: str, about: Any) -> Callable[[Any], int]:
        """Return what calls ``name(context, &about)``, a C function that no argument of changes.

        It takes the store and answers the function's integer, or -1, having done nothing, if it is
        another store. ``about`` is a ctypes structure of the store's; what it holds now is asked
        about for good.
        """
        context = address_of_pointer(store._context())
        place = self._places.take(name, context, ctypes.sizeof(about), lambda address: (address,))
        place.fill(0, about)
        lines = [
            "def query(store):",
            "    if address_of(store._context())[0] != context: return -1",
            "    if machine.is_closed: raise NotNow(closed)",
        ]
        if self._machine.direct_call(self._library.address_of(name)) is not None:
            # Nothing is shared with another thread: the machine itself refuses to serve two.
            lines += [
                "    if deferred and machine.can_call: run_deferred()",
                "    try:",
                "        return enter()",
                "    except MachineBusyError:",
                "        raise refusal(prepared_call) from None",
            ]
        else:
            lines += [
                "    if not acquire(False): raise NotNow(in_use)",
                "    try:",
                *self._thread_check(),
                "        if deferred: run_deferred()",
                "        return enter()",
                "    finally:",
                "        release()",
            ]
        return self._compiler.compile(
            lines,
            NotNow=NotNowError,
            acquire=self._library.lock.acquire,
            address_of=Struct("<Q").unpack_from,
            check_tasks=self._library.check_tasks,
            closed=f"{name}: its platform is closed",
            context=context,
            deferred=self._library.deferred,
            enter=place.enter,
            in_use=f"{name}: another thread is using this platform",
            keep=place,
            machine=self._machine,
            MachineBusyError=MachineBusyError,
            prepared_call=name,
            refusal=self._library.refusal,
            tasks=self._library.tasks,
            release=self._library.lock.release,
            run_deferred=self._library.run_deferred,
        )

    def _failure(self, error: int, trap: int) -> BaseException:
        """Make what wasmtime-py would raise: the host function's own error before all else."""
        made: BaseException
        if error:
            made = self._wasmtime.WasmtimeError._from_ptr(self._error_pointer(error))
        else:
            made = self._wasmtime.Trap._from_ptr(self._trap_pointer(trap))
        pending: BaseException | None = self._func.LAST_EXCEPTION
        if pending is None:
            return made
        self._func.LAST_EXCEPTION = None
        return pending
