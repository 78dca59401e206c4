"""Calling exports with exact bits in and out, through the C API of a wasmtime package.

wasmtime-py's ``Val`` has no v128 and turns a float into a Python float, which keeps neither a
signalling NaN nor every payload. So arguments are written into, and results read from, arrays of
``wasmtime_val_t`` as bytes; everything else goes the package's own way (its errors and traps, its
externrefs).

    wasmtime_val_t      0        8                       of.offset .. sizeof
                        ├─ kind ─┼─ i32 | i64 | f32 | f64 | v128 | references ─┤

The arrays of an export are made once, on its first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from theseus_kit.testing.wast.values import (
    Constant,
    Either,
    Expectation,
    HostReference,
    Kind,
    NanPattern,
    Null,
    Number,
    ReferencePattern,
    VectorPattern,
)


class Unsupported(Exception):
    """This package's C API cannot do what a command needs; the text says what."""


class MissingExport(Exception):
    """An instance has no such export of that sort."""


class HostObject:
    """What an externref of the suite's refers to; ``number`` tells them apart."""

    def __init__(self, number: int) -> None:
        self.number = number


_BYTES = {Kind.I32: 4, Kind.I64: 8, Kind.F32: 4, Kind.F64: 8, Kind.V128: 16}
# Handing an anyref of a host object over takes an instruction: the C API has no conversion.
_CONVERSIONS = b"""
(module
  (func (export "internalize") (param externref) (result anyref)
    (any.convert_extern (local.get 0)))
  (func (export "externalize") (param anyref) (result externref)
    (extern.convert_any (local.get 0))))
"""


class Calls:
    """Calls into one store. ``compile_text`` makes a module of module text."""

    def __init__(self, api: Any, store: Any, compile_text: Any) -> None:
        self._api = api
        self._ffi = api._ffi
        self._ctypes = api._ffi.ctypes
        self._store = store
        self._compile_text = compile_text
        self._conversions: Any = None
        self._value_type = self._ffi.wasmtime_val_t
        self._size = self._ctypes.sizeof(self._value_type)
        self._payload = self._value_type.of.offset
        self._written: dict[Number, bytes] = {}

    def function(self, instance: Any, export: bytes) -> ExportedFunction:
        """Prepare an exported function for calls. Raises MissingExport."""
        item = self._export(instance, export)
        if item.kind != self._ffi.WASMTIME_EXTERN_FUNC.value:
            raise MissingExport(f"the export {_name(export)} is no function")
        return ExportedFunction(self, item.of.func)

    def read_global(self, instance: Any, export: bytes) -> Results:
        """Return the value of an exported global. Raises MissingExport."""
        item = self._export(instance, export)
        if item.kind != self._ffi.WASMTIME_EXTERN_GLOBAL.value:
            raise MissingExport(f"the export {_name(export)} is no global")
        array = (self._value_type * 1)()
        byref = self._ctypes.byref
        self._ffi.wasmtime_global_get(self._store._context(), byref(item.of.global_), array)
        return Results(self, array)

    def _export(self, instance: Any, export: bytes) -> Any:
        item = self._ffi.wasmtime_extern_t()
        byref = self._ctypes.byref
        name = self._ctypes.create_string_buffer(export, len(export) + 1)
        context = self._store._context()
        if not self._ffi.wasmtime_instance_export_get(
            context, byref(instance._instance), name, len(export), byref(item)
        ):
            raise MissingExport(f"there is no export {_name(export)}")
        return item

    def write(self, constant: Constant) -> bytes:
        """Return a constant as the bytes of a ``wasmtime_val_t``. Raises Unsupported."""
        if isinstance(constant, Number):
            known = self._written.get(constant)
            if known is None:
                payload = constant.bits.to_bytes(16, "little")
                known = self._written[constant] = self._value(constant.kind, payload)
            return known
        if isinstance(constant, Null):
            kind = constant.kind
            if kind is None:
                raise Unsupported(f"the C API does not tell the type of the parameter {constant}")
            return self._value(kind, bytes(16))  # a store id of 0 is null, in every kind
        raw = self._api.Val.externref(HostObject(constant.number))._new_raw(self._store)
        reference = bytes(raw)
        if constant.kind is Kind.ANYREF:
            return self._convert("internalize", reference)
        return reference

    def _value(self, kind: Kind, payload: bytes) -> bytes:
        return (bytes((kind,)).ljust(self._payload, b"\0") + payload).ljust(self._size, b"\0")

    def _convert(self, direction: str, reference: bytes) -> bytes:
        """Return an externref as an anyref, or back; the argument is given up."""
        if self._conversions is None:
            module = self._compile_text(_CONVERSIONS)
            self._conversions = self._api.Instance(self._store, module, [])
        function = self.function(self._conversions, direction.encode())
        return bytes(function.call_raw(reference, 1).array[0])

    def call(self, function: Any, arguments: Any, count: int, results: Any) -> None:
        """``wasmtime_func_call``; raises the package's Trap or WasmtimeError."""
        ffi = self._ffi
        ctypes = self._ctypes
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            self._store._context(),
            ctypes.byref(function),
            arguments,
            count,
            results,
            len(results),
            ctypes.byref(trap),
        )
        if error:
            raise self._api.WasmtimeError._from_ptr(error)
        if trap:
            raise self._api.Trap._from_ptr(trap)

    def counts(self, function: Any) -> tuple[int, int]:
        """Return how many parameters and results a function has.

        Only counted: asking the C API for the kind of a type it has no kind for (anyref, say)
        aborts the process.
        """
        ffi = self._ffi
        type_ = ffi.wasmtime_func_type(self._store._context(), self._ctypes.byref(function))
        try:
            parameters = ffi.wasm_functype_params(type_).contents.size
            return parameters, ffi.wasm_functype_results(type_).contents.size
        finally:
            ffi.wasm_functype_delete(type_)

    def new_array(self, count: int) -> Any:
        """Return an array of values, all zero."""
        return (self._value_type * count)()

    def release(self, value: Any) -> None:
        """Give up what a value refers to, if it is a reference."""
        if value.kind > Kind.FUNCREF:
            self._ffi.wasmtime_val_unroot(self._ctypes.byref(value))

    def read(self, value: Any) -> Number | Null | HostReference | ReferencePattern:
        """Return what a ``wasmtime_val_t`` holds, as the suite would write it."""
        kind = Kind(value.kind)
        raw = bytes(value)[self._payload :]
        if kind in _BYTES:
            return Number(kind, int.from_bytes(raw[: _BYTES[kind]], "little"))
        if not any(raw[:8]):  # the store id
            return Null(_TYPES[kind])
        if kind is Kind.EXTERNREF:
            held = self._api.Val._from_raw(self._store, value, owned=False).value
            if isinstance(held, HostObject):
                return HostReference(kind, held.number)
            return ReferencePattern("extern")
        return ReferencePattern(_TYPES[kind])

    def host_object_of_any(self, value: Any) -> HostReference | None:
        """Return the host object that an anyref holds, if it holds one."""
        copy = self.new_array(1)
        byref = self._ctypes.byref
        self._ffi.wasmtime_val_clone(byref(value), byref(copy[0]))
        externals = self.new_array(1)
        raw = self._convert("externalize", bytes(copy[0]))
        self._ctypes.memmove(externals, raw, len(raw))
        found = self.read(externals[0])
        self.release(externals[0])
        return (
            HostReference(Kind.ANYREF, found.number) if isinstance(found, HostReference) else None
        )

    def is_of_type(self, value: Any, heap_type: str) -> bool:
        """Tell whether an anyref that is not null is an eq, i31, struct or array reference."""
        name = "wasmtime_anyref_is_" + ("eqref" if heap_type == "eq" else heap_type)
        test = getattr(self._ffi, name, None)
        if test is None:
            raise Unsupported(f"this version of the C API has no {name}")
        return bool(test(self._store._context(), self._ctypes.byref(value.of.anyref)))


class ExportedFunction:
    """An exported function with its arrays of values."""

    def __init__(self, calls: Calls, function: Any) -> None:
        self._calls = calls
        self._function = function
        parameters, results = calls.counts(function)
        self._arguments = calls.new_array(parameters)
        self._bytes = (
            memoryview(self._arguments).cast("B") if parameters else memoryview(bytearray())
        )
        self._results = calls.new_array(results)
        self._parameters = parameters

    def call(self, arguments: Sequence[Constant]) -> Results:
        """Call it. Raises the package's Trap or WasmtimeError, and Unsupported."""
        write = self._calls.write
        return self.call_raw(b"".join([write(one) for one in arguments]), len(arguments))

    def call_raw(self, arguments: bytes, count: int) -> Results:
        """Call it with values as bytes, which are given up."""
        calls = self._calls
        if count != self._parameters:  # for Wasmtime to refuse
            self._arguments = calls.new_array(count)
            self._bytes = (
                memoryview(self._arguments).cast("B") if count else memoryview(bytearray())
            )
            self._parameters = count
        self._bytes[:] = arguments
        try:
            calls.call(self._function, self._arguments, count, self._results)
        finally:
            for value in self._arguments:
                calls.release(value)
        return Results(calls, self._results)


class Results:
    """The results of a call, until the next call of the same function or :meth:`release`."""

    def __init__(self, calls: Calls, array: Any) -> None:
        self._calls = calls
        self.array = array

    def match(self, expected: Sequence[Expectation]) -> bool:
        """Tell whether there are as many results as expectations, and each fits."""
        return len(self.array) == len(expected) and all(
            self._matches(value, one) for value, one in zip(self.array, expected, strict=True)
        )

    def release(self) -> None:
        """Give up the references among them."""
        for value in self.array:
            self._calls.release(value)

    def _matches(self, value: Any, expected: Expectation) -> bool:
        if isinstance(expected, Either):
            return any(self._matches(value, one) for one in expected.alternatives)
        calls = self._calls
        found = calls.read(value)
        if isinstance(found, Number):
            if isinstance(expected, NanPattern):
                return found.kind is expected.kind and expected.matches(found.bits)
            if isinstance(expected, VectorPattern):
                return found.kind is Kind.V128 and expected.matches(found.bits)
            return _same(found, expected)
        if isinstance(found, Null):
            return isinstance(expected, Null) and expected.kind in (None, value.kind)
        if isinstance(expected, ReferencePattern):
            if value.kind == Kind.ANYREF and expected.heap_type in _ANY_SUBTYPES:
                return calls.is_of_type(value, expected.heap_type)
            return _TYPES[Kind(value.kind)] == expected.heap_type
        if isinstance(expected, HostReference) and expected.kind is Kind.ANYREF:
            return value.kind == Kind.ANYREF and calls.host_object_of_any(value) == expected
        return _same(found, expected)

    def __str__(self) -> str:
        return " ".join(f"({self._calls.read(value)})" for value in self.array) or "nothing"


_TYPES = {
    Kind.FUNCREF: "func",
    Kind.EXTERNREF: "extern",
    Kind.ANYREF: "any",
    Kind.EXNREF: "exn",
}
_ANY_SUBTYPES = ("eq", "i31", "struct", "array")


def _same(found: Expectation, expected: Expectation) -> bool:
    """Compare, and not as the tuples they are: a null of "func" is no reference to a "func"."""
    return type(found) is type(expected) and found == expected


def _name(export: bytes) -> str:
    return repr(export.decode(errors="backslashreplace"))
