"""The WebAssembly that is measured, as text.

It uses no bulk-memory instruction, which would leave the module for a C function of the platform:
what is timed is the machine code that Wasmtime's compiler makes.
"""

from __future__ import annotations

COMPUTE = """
(module
  (import "host" "pause" (func $pause))
  (memory (export "memory") 32)
  ;; Gives the host control while guest code waits: the bare CPU takes its turn there.
  (func (export "pause") (call $pause))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_s (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else
        (i32.add
          (call $fib (i32.sub (local.get $n) (i32.const 1)))
          (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  ;; The sieve of Eratosthenes over a byte for each number: loads, and stores at growing strides.
  (func (export "sieve") (param $limit i32) (result i32)
    (local $i i32) (local $j i32) (local $count i32)
    (loop $clear
      (i64.store (local.get $i) (i64.const 0))
      (br_if $clear
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (local.get $limit))))
    (local.set $i (i32.const 2))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $i)))
        (then
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (local.set $j (i32.shl (local.get $i) (i32.const 1)))
          (block $struck
            (loop $strike
              (br_if $struck (i32.ge_u (local.get $j) (local.get $limit)))
              (i32.store8 (local.get $j) (i32.const 1))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br $strike)))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $limit))))
    (local.get $count))
  ;; Four lanes at a time over what the sieve left in the first 64 KiB, again and again:
  ;; load, multiply, add, and store the sums beyond it.
  (func (export "simd") (param $rounds i32) (result i32)
    (local $i i32) (local $sum v128)
    (loop $round
      (local.set $i (i32.const 0))
      (loop $next
        (local.set $sum (i32x4.add (local.get $sum)
          (i32x4.mul (v128.load (local.get $i)) (i32x4.splat (local.get $rounds)))))
        (v128.store offset=65536 (local.get $i) (local.get $sum))
        (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16)))
          (i32.const 65536))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (i32x4.extract_lane 0 (local.get $sum))))
"""

CALLS = """
(module
  (import "host" "function" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "increment") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "call_host") (param $times i32) (result i32)
    (local $value i32)
    (loop $again
      (local.set $value (call $host (local.get $value)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $value))
  (func (export "grow") (param $times i32) (result i32)
    (local $size i32)
    (loop $again
      (local.set $size (memory.grow (i32.const 1)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $size))
  (func (export "unreachable") (param i32) (result i32) unreachable)
  (func (export "divide") (param i32) (result i32) (i32.div_s (local.get 0) (i32.const 0)))
  (func (export "load") (param i32) (result i32)
    (i32.load (i32.const -8))))
"""

FUNCTION = """
  (func (export "f{number}") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const {number}))
        (i32.load (i32.and (local.get $n) (i32.const 0xfff8)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))"""


def many_functions(count: int) -> str:
    """A module of so many small functions, each with a loop, a load and some arithmetic."""
    functions = "".join(FUNCTION.format(number=number) for number in range(3, 3 + count))
    return f"(module (memory 1){functions})"
