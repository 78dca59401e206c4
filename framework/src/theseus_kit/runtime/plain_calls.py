"""wasmtime-py's hot methods, prepared behind the package's back: calls with numbers, memory.

``Func.__call__`` asks the library for the function's type, makes tagged values and roots
references: some 25 C calls, each of which crosses into the guest here. ``Memory.read`` and
``write`` make two. What is called again and again is prepared instead (:mod:`.prepared`), once, and
kept with the ``Func`` or ``Memory``. It is taken where it cannot be told from the ordinary method
but by its speed: a call with plain numbers, into the store it was prepared for. All else, and all
that is in some way wrong, is the ordinary method's.

A number that a host function returns has its type compared with all there are, nine C calls; a
type's kind never changes, so it is asked for once and kept with the ``ValType``.

These are the only methods of the package that are replaced for speed: ``Func.__call__``,
``Memory.data_ptr``, ``Memory.data_len`` and ``Val._convert_to_raw``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from theseus_kit.runtime.marshalling import pointer_maker

if TYPE_CHECKING:
    from theseus_kit.runtime.package import PrivatePackage
    from theseus_kit.runtime.prepared import Preparer

UNSUITABLE: Final = object()
"""The answer of a plain call that it was not made: the ordinary one must be."""

CALLS_BEFORE = 2
"""Ordinary calls before something is prepared, which costs about as much as three of them."""

_PREPARED = "_theseus_kit_prepared"
"""Attribute of a ``Func``: how often it was called, then the prepared call, or None for never."""


def replace_hot_methods(package: PrivatePackage, preparer: Callable[[], Preparer]) -> None:
    """Give the package's classes the prepared methods.

    ``preparer`` is asked when one is prepared first: short runs are over before.
    """
    _replace_call(package.load("wasmtime._func").Func, preparer)
    memory = package.load("wasmtime._memory").Memory
    ffi = package.load("wasmtime._ffi")
    make_pointer = pointer_maker(ffi.dll.wasmtime_memory_data.restype)
    _replace_query(memory, preparer, "data_ptr", "wasmtime_memory_data", make_pointer)
    _replace_query(memory, preparer, "data_len", "wasmtime_memory_data_size", None)
    _replace_conversion(package.load("wasmtime._value").Val, ffi)


def _replace_call(kind: Any, preparer: Callable[[], Preparer]) -> None:
    ordinary: Callable[..., Any] = kind.__call__

    def __call__(self: Any, store: Any, *params: Any) -> Any:  # noqa: N807  # a method's name
        prepared = vars(self).get(_PREPARED, 0)
        if prepared.__class__ is int:
            vars(self)[_PREPARED] = (
                prepared + 1 if prepared < CALLS_BEFORE else preparer().prepare_plain(store, self)
            )
        elif prepared is not None:
            result = prepared(store, params)
            if result is not UNSUITABLE:
                return result
        return ordinary(self, store, *params)

    __call__.__doc__ = ordinary.__doc__
    kind.__call__ = __call__


def _replace_query(
    kind: Any,
    preparer: Callable[[], Preparer],
    method: str,
    function: str,
    convert: Callable[[int], Any] | None,
) -> None:
    """Replace a method that does nothing but ask one C function about a memory."""
    ordinary: Callable[..., Any] = getattr(kind, method)
    key = f"{_PREPARED}_{method}"

    def query(self: Any, store: Any) -> Any:
        prepared = vars(self).get(key, 0)
        if prepared.__class__ is int:
            vars(self)[key] = (
                prepared + 1
                if prepared < CALLS_BEFORE
                else preparer().prepare_query(store, function, self._memory)
            )
        else:
            result: int = prepared(store)
            if result >= 0:
                return result if convert is None else convert(result)
        return ordinary(self, store)

    query.__name__, query.__doc__ = method, ordinary.__doc__
    setattr(kind, method, query)


def _replace_conversion(kind: Any, ffi: Any) -> None:
    ordinary: Callable[..., Any] = kind._convert_to_raw
    key = "_theseus_kit_kind"
    make, kind_of = ffi.wasmtime_val_t, ffi.wasm_valtype_kind
    numbers = {
        (int, ffi.WASM_I32.value): ("i32", ffi.WASMTIME_I32.value),
        (int, ffi.WASM_I64.value): ("i64", ffi.WASMTIME_I64.value),
        (float, ffi.WASM_F32.value): ("f32", ffi.WASMTIME_F32.value),
        (float, ffi.WASM_F64.value): ("f64", ffi.WASMTIME_F64.value),
    }

    def _convert_to_raw(cls: Any, store: Any, ty: Any, val: Any) -> Any:
        kept = vars(ty)
        value_kind = kept.get(key)
        if value_kind is None:
            value_kind = kept[key] = kind_of(ty.ptr())
        number = numbers.get((val.__class__, value_kind))
        if number is None:
            return ordinary(store, ty, val)
        raw = make(kind=number[1])
        setattr(raw.of, number[0], val)
        return raw

    _convert_to_raw.__doc__ = ordinary.__doc__
    kind._convert_to_raw = classmethod(_convert_to_raw)
