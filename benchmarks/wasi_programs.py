"""WASI programs that are measured, as text; each prints nothing but what is measured.

Memory of all: iovec at 0, results at 16 and on, paths at 64, the buffer at 65536.
"""

from __future__ import annotations

_IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $status (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "file")
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func $piece (param $size i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (local.get $size)))
"""

COPY = f"""
(module {_IMPORTS}
  ;; Standard input to standard output in pieces of 64 KiB.
  (func (export "_start")
    (block $end
      (loop $next
        (call $piece (i32.const 65536))
        (call $check (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
        (br_if $end (i32.eqz (i32.load (i32.const 16))))
        (call $piece (i32.load (i32.const 16)))
        (loop $rest
          (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
          (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 16))))
          (i32.store (i32.const 4) (i32.sub (i32.load (i32.const 4)) (i32.load (i32.const 16))))
          (br_if $rest (i32.load (i32.const 4))))
        (br $next)))))
"""

HELLO = f"""
(module {_IMPORTS}
  (data (i32.const 65536) "Hello, world\\n")
  (func (export "_start")
    (call $piece (i32.const 13))
    (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))
"""


def small_writes(count: int, size: int = 16) -> str:
    """So many writes of so many bytes to standard output."""
    return f"""
(module {_IMPORTS}
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const {count}))
    (call $piece (i32.const {size}))
    (loop $next
      (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
"""


def files(count: int, passes: int, *, with_files: bool) -> str:
    """So many files of 64 KiB: made, written, read back, looked at, removed; and hashed.

    The hash (FNV-1a, byte by byte, in so many passes) is what is left ``with_files`` false.
    """
    calls = """
        (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4)
          (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
        (call $piece (i32.const 65536))
        (call $check (call $write
          (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
        (call $check (call $close (i32.load (i32.const 16))))
        (call $check (call $status (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4)
          (i32.const 128)))
        (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4)
          (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
        (call $check (call $read
          (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
        (call $check (i32.ne (i32.load (i32.const 20)) (i32.const 65536)))
        (call $check (call $close (i32.load (i32.const 16))))
        (call $check (call $unlink (i32.const 3) (i32.const 64) (i32.const 4)))"""
    return f"""
(module {_IMPORTS}
  (func $hash (result i32) (local $at i32) (local $hash i32)
    (local.set $at (i32.const 65536))
    (local.set $hash (i32.const 0x811c9dc5))
    (loop $next
      (local.set $hash (i32.mul
        (i32.xor (local.get $hash) (i32.load8_u (local.get $at))) (i32.const 0x01000193)))
      (br_if $next (i32.lt_u
        (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 131072))))
    (local.get $hash))
  (func (export "_start") (local $left i32) (local $pass i32)
    (local.set $left (i32.const {count}))
    (loop $next
      {calls if with_files else ""}
      (local.set $pass (i32.const {passes}))
      (loop $again
        (i32.store (i32.const 65536) (i32.add (call $hash) (local.get $pass)))
        (br_if $again (local.tee $pass (i32.sub (local.get $pass) (i32.const 1)))))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
"""
