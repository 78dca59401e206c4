"""libunicorn, bound raw: the functions and constants the machine uses, and nothing else.

The shared library is taken out of the ``unicorn`` package without importing the package, whose
import takes 70 ms where loading the library takes 11. Prototypes and numbers are those of
``unicorn/unicorn.h`` and ``unicorn/x86.h`` 2.x; a test compares them with the package's own.

``emu_start`` releases the GIL, so that other threads run while guest code does; everything else
is short and keeps it.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from theseus_kit.errors import MachineError

ARCH_X86 = 4
MODE_64 = 8

ERR_OK = 0
ERR_INSN_INVALID = 10
ERR_EXCEPTION = 21

HOOK_INTR = 1 << 0
HOOK_INSN = 1 << 1
HOOK_MEM_FETCH_PROT = 1 << 9
HOOK_EDGE_GENERATED = 1 << 15
HOOK_TLB_FILL = 1 << 17

INS_IN = 218
INS_OUT = 500
INS_SYSCALL = 699

MEM_READ = 16
MEM_WRITE = 17
MEM_FETCH = 18

TLB_CPU = 0
TLB_VIRTUAL = 1

_CTL_WRITE = 1 << 30
_CTL_READ = 2 << 30
CTL_TB_REQUEST_CACHE = 8 | 2 << 26 | _CTL_WRITE | _CTL_READ
CTL_TB_REMOVE_CACHE = 9 | 2 << 26 | _CTL_WRITE
CTL_TLB_FLUSH = 11 | 0 << 26 | _CTL_WRITE
CTL_TLB_TYPE = 12 | 1 << 26 | _CTL_WRITE
CTL_TCG_BUFFER_SIZE_READ = 13 | 1 << 26 | _CTL_READ

REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP = 35, 36, 37, 38, 39, 40, 41
REG_RSI, REG_RSP = 43, 44
REG_R8 = 106
REG_ST0 = 114
REG_XMM0 = 122
REG_FP0 = 82
REG_FPSW = 31
REG_FPCW = 246
REG_FPTAG = 247
REG_MXCSR = 249
REG_FS_BASE = 250
REG_GS_BASE = 251
REG_RFLAGS = 253

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    # name: result, arguments
    "uc_version": (ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
    "uc_open": (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
    "uc_close": (ctypes.c_int, ctypes.c_void_p),
    "uc_mem_map_ptr": (
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p),
    ),
    "uc_reg_read": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    "uc_reg_write": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    "uc_reg_read_batch": (
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ),
    "uc_reg_write_batch": (
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ),
    "uc_context_alloc": (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    "uc_context_free": (ctypes.c_int, ctypes.c_void_p),
    "uc_context_save": (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    "uc_context_restore": (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    "uc_context_reg_read_batch": (
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ),
    "uc_emu_stop": (ctypes.c_int, ctypes.c_void_p),
    "uc_hook_del": (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
}


class Library:
    """The functions of libunicorn, as callables without wrappers. See unicorn/unicorn.h."""

    def __init__(self) -> None:
        path = _library_path()
        try:
            short = ctypes.PyDLL(str(path))
            long = ctypes.CDLL(str(path))
        except OSError as error:
            raise MachineError(f"cannot load libunicorn: {error}") from None
        self.path = path
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(short, name)
            function.restype = result
            function.argtypes = arguments
        self.open: Any = short.uc_open
        self.close: Any = short.uc_close
        self.mem_map_ptr: Any = short.uc_mem_map_ptr
        self.reg_read: Any = short.uc_reg_read
        self.reg_write: Any = short.uc_reg_write
        self.reg_read_batch: Any = short.uc_reg_read_batch
        self.reg_write_batch: Any = short.uc_reg_write_batch
        self.context_alloc: Any = short.uc_context_alloc
        self.context_free: Any = short.uc_context_free
        self.context_save: Any = short.uc_context_save
        self.context_restore: Any = short.uc_context_restore
        self.context_reg_read_batch: Any = short.uc_context_reg_read_batch
        self.emu_stop: Any = short.uc_emu_stop
        self.hook_del: Any = short.uc_hook_del
        self.ctl: Any = short.uc_ctl  # variadic: arguments are passed as ctypes objects
        self.hook_add: Any = short.uc_hook_add  # variadic likewise
        self.emu_start: Any = long.uc_emu_start
        self.emu_start.restype = ctypes.c_int
        self.emu_start.argtypes = (
            *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64),
            ctypes.c_size_t,
        )
        version = short.uc_version(None, None)
        self.version = (version >> 24, version >> 16 & 0xFF, version >> 8 & 0xFF)


def _library_path() -> Path:
    spec = PathFinder.find_spec("unicorn", sys.path)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for found in sorted((Path(folder) / "lib").glob("libunicorn.so*")):
            return found
    raise MachineError("the emulated machine needs unicorn: pip install 'unicorn>=2.1.4'")
