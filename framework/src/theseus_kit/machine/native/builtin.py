"""Python builtins whose C function is machine code of ours."""

from __future__ import annotations

import ctypes
from typing import Any


def new_builtin(method: int, owner: object) -> Any:
    """Make a builtin of the PyMethodDef at an address; it keeps ``owner`` alive."""
    make: Any = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return make(method, owner, None)
