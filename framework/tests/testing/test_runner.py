"""The suite runner on the ordinary wasmtime package: what passes, and above all what fails."""

from typing import Any

import pytest
import wasmtime

from theseus_kit.errors import GuestError
from theseus_kit.testing.wast import FileResult, SpecRunner, spec_config

MODULE = """
(module
  (type $s (struct))
  (type $a (array i8))
  (tag $t)
  (global (export "g") f64 (f64.const -0))
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "v128") (param v128) (result v128) (local.get 0))
  (func (export "extern") (param externref) (result externref) (local.get 0))
  (func (export "any") (param anyref) (result anyref) (local.get 0))
  (func (export "func") (result funcref) (ref.func $f))
  (func (export "struct") (result anyref) (struct.new $s))
  (func (export "array") (result anyref) (array.new_default $a (i32.const 1)))
  (func (export "i31") (result anyref) (ref.i31 (i32.const 7)))
  (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
  (func $f (export "unreachable") unreachable)
  (func (export "divide") (result i32) (i32.div_u (i32.const 1) (i32.const 0)))
  (func $deep (export "deep") (call $deep))
  (func (export "throw") (throw $t)))
"""


@pytest.fixture(scope="module")
def runner() -> SpecRunner:
    return SpecRunner(wasmtime)


def run(runner: SpecRunner, *commands: str) -> FileResult:
    return runner.run_source((MODULE + "\n".join(commands)).encode())


PASSING = [
    '(assert_return (invoke "add" (i32.const -1) (i32.const 3)) (i32.const 2))',
    '(assert_return (get "g") (f64.const -0))',
    '(assert_return (invoke "two") (i32.const 1) (i64.const 2))',
    '(assert_return (invoke "add" (i32.const 1) (i32.const 1))'
    " (either (i32.const 3) (i32.const 2)))",
    '(assert_return (invoke "f32" (f32.const nan:0x200001)) (f32.const nan:0x200001))',
    '(assert_return (invoke "f32" (f32.const -nan)) (f32.const nan:canonical))',
    '(assert_return (invoke "f32" (f32.const nan:0x400001)) (f32.const nan:arithmetic))',
    '(assert_return (invoke "v128" (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15))'
    " (v128.const i64x2 0x0706050403020100 0x0f0e0d0c0b0a0908))",
    '(assert_return (invoke "v128" (v128.const f64x2 nan 1)) (v128.const f64x2 nan:canonical 1))',
    '(assert_return (invoke "extern" (ref.extern 0)) (ref.extern 0))',
    '(assert_return (invoke "extern" (ref.extern 5)) (ref.extern))',
    '(assert_return (invoke "extern" (ref.null extern)) (ref.null extern))',
    '(assert_return (invoke "extern" (ref.null noextern)) (ref.null))',
    '(assert_return (invoke "any" (ref.host 9)) (ref.host 9))',
    '(assert_return (invoke "any" (ref.null none)) (ref.null any))',
    '(assert_return (invoke "func") (ref.func))',
    '(assert_return (invoke "struct") (ref.struct))',
    '(assert_return (invoke "array") (ref.array))',
    '(assert_return (invoke "i31") (ref.i31))',
    '(assert_return (invoke "i31") (ref.eq))',
    '(assert_return (invoke "i31") (ref.any))',
    '(assert_trap (invoke "unreachable") "unreachable")',
    '(assert_trap (invoke "divide") "integer divide by zero")',
    '(assert_trap (module (func $s unreachable) (start $s)) "unreachable")',
    '(assert_exhaustion (invoke "deep") "call stack exhausted")',
    '(assert_exception (invoke "throw"))',
    '(assert_invalid (module (func (result i32))) "type mismatch")',
    '(assert_malformed (module quote "(func") "unexpected end")',
    '(assert_malformed (module binary "\\00asm") "unexpected end")',
    '(assert_unlinkable (module (import "no" "thing" (func))) "unknown import")',
    '(assert_unlinkable (module (import "spectest" "print" (memory 1)))'
    ' "incompatible import type")',
    '(module (import "spectest" "table64" (table i64 10 20 funcref)))',
    '(module (import "spectest" "print_i32_f32" (func $p (param i32 f32)))'
    " (func (call $p (i32.const 1) (f32.const 2))) (start 1))",
]


@pytest.mark.parametrize("command", PASSING)
def test_what_is_so_passes(runner: SpecRunner, command: str) -> None:
    result = run(runner, command)
    assert (result.passed, result.failures, result.skipped) == (2, (), ())


FAILING = [
    (
        '(assert_return (invoke "add" (i32.const 1) (i32.const 1)) (i32.const 3))',
        "(i32 0x00000002)",
    ),
    (
        '(assert_return (invoke "add" (i32.const 1) (i32.const 1)) (i64.const 2))',
        "(i32 0x00000002)",
    ),
    ('(assert_return (get "g") (f64.const 0))', "(f64 0x8000000000000000)"),
    ('(assert_return (invoke "two") (i32.const 1))', "(i32 0x00000001) (i64 0x0000000000000002)"),
    (
        '(assert_return (invoke "unreachable"))',
        "wasm trap: wasm `unreachable` instruction executed",
    ),
    ('(assert_return (invoke "f32" (f32.const nan:0x1)) (f32.const nan))', "(f32 0x7f800001)"),
    ('(assert_return (invoke "f32" (f32.const nan:0x400001)) (f32.const nan:canonical))', "(f32"),
    ('(assert_return (invoke "f32" (f32.const nan:0x1)) (f32.const nan:arithmetic))', "(f32"),
    ('(assert_return (invoke "v128" (v128.const i64x2 1 0)) (v128.const i64x2 0 1))', "(v128"),
    (
        '(assert_return (invoke "v128" (v128.const f32x4 0 1 2 3))'
        " (v128.const f32x4 nan:canonical 1 2 3))",
        "(v128",
    ),
    (
        '(assert_return (invoke "add" (i32.const 1) (i32.const 1))'
        " (either (i32.const 3) (i32.const 4)))",
        "(i32",
    ),
    ('(assert_return (invoke "extern" (ref.extern 1)) (ref.extern 2))', "(ref.extern 1)"),
    ('(assert_return (invoke "extern" (ref.extern 1)) (ref.null extern))', "(ref.extern 1)"),
    ('(assert_return (invoke "extern" (ref.null extern)) (ref.extern))', "(ref.null extern)"),
    ('(assert_return (invoke "extern" (ref.null extern)) (ref.null func))', "(ref.null extern)"),
    ('(assert_return (invoke "any" (ref.host 9)) (ref.host 8))', "(ref.any)"),
    ('(assert_return (invoke "struct") (ref.host 8))', "(ref.any)"),
    ('(assert_return (invoke "struct") (ref.array))', "(ref.any)"),
    ('(assert_return (invoke "i31") (ref.struct))', "(ref.any)"),
    ('(assert_return (invoke "func") (ref.null func))', "(ref.func)"),
    ('(assert_trap (invoke "two") "unreachable")', "(i32 0x00000001) (i64 0x0000000000000002)"),
    ('(assert_trap (invoke "divide") "unreachable")', "wasm trap: integer divide by zero"),
    ('(assert_trap (module (func)) "unreachable")', "an instance"),
    ('(assert_exhaustion (invoke "divide") "call stack exhausted")', "integer divide by zero"),
    ('(assert_exception (invoke "two"))', "(i32 0x00000001)"),
    ('(assert_exception (invoke "divide"))', "integer divide by zero"),
    ('(assert_trap (invoke "throw") "unreachable")', "thrown Wasm exception"),
    ('(assert_invalid (module (func)) "type mismatch")', "a valid module"),
    ('(assert_malformed (module quote "(func)") "unexpected token")', "a valid module"),
    ('(assert_unlinkable (module) "unknown import")', "an instance"),
    (
        '(assert_unlinkable (module (import "spectest" "print" (memory 1))) "unknown import")',
        "expected memory, but found function",
    ),
    ('(invoke "nothing")', "there is no export 'nothing'"),
    ('(invoke "g")', "the export 'g' is no function"),
    ('(get "add")', "the export 'add' is no global"),
    ('(invoke "add" (i32.const 1))', "expected 2 arguments, got 1"),
    ('(invoke "add" (i32.const 1) (f32.const 1))', "type mismatch: expected i32, found f32"),
    ('(invoke $who "add")', "there is no instance $who"),
    ("(module instance $i $m)", "none named $m"),
    ('(module (import "no" "thing" (func)))', "unknown import"),
]


@pytest.mark.parametrize(("command", "got"), FAILING)
def test_what_is_not_so_fails_and_says_what_came(
    runner: SpecRunner, command: str, got: str
) -> None:
    result = run(runner, command)
    assert (result.passed, result.failed) == (1, 1)
    (failure,) = result.failures
    assert failure.command == command
    assert got in failure.got


def test_after_a_failure_the_file_goes_on(runner: SpecRunner) -> None:
    result = run(
        runner,
        '(assert_return (invoke "two"))',
        '(assert_return (invoke "two") (i32.const 1) (i64.const 2))',
    )
    assert (result.passed, result.failed, result.aborted) == (2, 1, None)
    assert result.failures[0].line == MODULE.count("\n") + 1


def test_after_a_module_that_fails_commands_do_not_run_on_the_one_before(
    runner: SpecRunner,
) -> None:
    result = run(runner, "(module (func (result i32)))", '(invoke "two")')
    assert [failure.got for failure in result.failures][1] == "there is no instance at all"


def test_instances_of_one_definition_are_apart_and_imports_see_the_registered_one(
    runner: SpecRunner,
) -> None:
    result = runner.run_source(
        b"""
        (module definition $counter
          (global $n (export "n") (mut i32) (i32.const 0))
          (func (export "count") (global.set $n (i32.add (global.get $n) (i32.const 1)))))
        (module instance $one $counter)
        (module instance $two $counter)
        (register "C" $two)
        (module (import "C" "n" (global (mut i32))) (export "n" (global 0)))
        (invoke $one "count")
        (invoke $two "count")
        (invoke $two "count")
        (assert_return (get $one "n") (i32.const 1))
        (assert_return (get "n") (i32.const 2))
        """
    )
    assert (result.passed, result.failures) == (10, ())


def test_a_command_nobody_knows_is_skipped_with_its_reason(runner: SpecRunner) -> None:
    result = run(runner, '(assert_suspension (invoke "two") "x")')
    (skip,) = result.skipped
    assert (result.passed, result.failed) == (1, 0)
    assert "assert_suspension" in skip.reason


def test_text_that_is_no_script_is_a_failure_with_its_line(runner: SpecRunner) -> None:
    result = run(runner, '(invoke "two"')
    assert result.passed == 1
    assert result.failed == 1
    assert result.aborted is not None
    assert "never closed" in result.aborted


def test_a_platform_that_dies_ends_the_file() -> None:
    killed = 0

    def compile_module(wasm: bytes) -> Any:
        nonlocal killed
        killed += 1
        if killed == 3:  # the first is spectest
            raise GuestError("guest killed")
        return wasmtime.Module(engine, wasm)

    engine = wasmtime.Engine(spec_config(wasmtime))
    mortal = SpecRunner(wasmtime, engine=engine, compile_module=compile_module)
    result = mortal.run_source(b"(module)\n(module)\n(module)")
    assert (result.passed, result.failed) == (1, 1)
    assert result.failures[0].line == 2
    assert result.aborted == "GuestError: guest killed"


def test_compiling_elsewhere_and_deserialising_gives_the_same(runner: SpecRunner) -> None:
    def compile_module(wasm: bytes) -> Any:
        artifact = bytes(wasmtime.Module(runner.engine, wasm).serialize())
        return wasmtime.Module.deserialize(runner.engine, artifact)

    other = SpecRunner(wasmtime, engine=runner.engine, compile_module=compile_module)
    assert run(other, *PASSING).passed == run(runner, *PASSING).passed == 1 + len(PASSING)
