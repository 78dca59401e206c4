"""Commands of a script, as values."""

import pytest
import wasmtime

from theseus_kit.testing.wast.reader import ScriptError
from theseus_kit.testing.wast.script import (
    AssertException,
    AssertMalformed,
    AssertReturn,
    AssertTrap,
    Encoding,
    Get,
    Invoke,
    Module,
    ModuleInstance,
    Register,
    Unknown,
    parser_text,
    read_script,
)
from theseus_kit.testing.wast.values import (
    Either,
    HostReference,
    Kind,
    NanPattern,
    Null,
    Number,
    ReferencePattern,
    VectorPattern,
)


def command(text: str) -> object:
    (only,) = read_script(text.encode())
    return only


def results(text: str) -> tuple[object, ...]:
    only = command(f'(assert_return (invoke "f") {text})')
    assert isinstance(only, AssertReturn)
    return only.results


def test_module_text_is_handed_on_unchanged() -> None:
    text = '(module $m ;; a comment\n (func (export "\\"f") nop))'
    assert command(text) == Module(0, "$m", Encoding.TEXT, text.encode())


def test_a_definition_loses_that_word_and_keeps_its_columns() -> None:
    expected = b"(module            $definition (func))"
    assert command("(module definition $definition (func))") == Module(
        0, "$definition", Encoding.TEXT, expected, definition=True
    )


def test_a_binary_modules_strings_are_joined() -> None:
    text = r'(module $b binary "\00asm" "\01\00\00\00")'
    assert command(text) == Module(0, "$b", Encoding.BINARY, b"\0asm\x01\0\0\0")


def test_a_quoted_modules_strings_are_joined_with_blanks() -> None:
    assert command('(module quote "(func" ")")') == Module(0, None, Encoding.QUOTE, b"(func ) ")


def test_an_instance_names_itself_and_its_definition() -> None:
    assert command("(module instance $i $m)") == ModuleInstance(0, "$i", "$m")
    assert command("(module instance)") == ModuleInstance(0, None, None)


def test_a_script_of_module_fields_is_one_module() -> None:
    text = '(func) (memory 0) (func (export "f"))'
    assert command(text) == Module(0, None, Encoding.TEXT, text.encode())


def test_actions_may_name_an_instance() -> None:
    assert command('(get $m "g")') == Get(0, "$m", b"g")
    assert command('(invoke "f" (i64.const -1))') == Invoke(
        0, None, b"f", (Number(Kind.I64, 0xFFFFFFFFFFFFFFFF),)
    )
    assert command('(register "M" $m)') == Register(0, b"M", "$m")


def test_a_trap_is_asserted_of_an_action_or_of_a_module() -> None:
    assert command('(assert_trap (invoke "f") "unreachable")') == AssertTrap(
        0, Invoke(13, None, b"f", ()), "unreachable"
    )
    assert command('(assert_trap (module (start 0)) "x")') == AssertTrap(
        0, Module(13, None, Encoding.TEXT, b"(module (start 0))"), "x"
    )


def test_judgements_of_modules_and_exceptions() -> None:
    assert command('(assert_malformed (module quote "(") "unexpected end")') == AssertMalformed(
        0, Module(18, None, Encoding.QUOTE, b"( "), "unexpected end"
    )
    assert command('(assert_exception (invoke "f"))') == AssertException(
        0, Invoke(18, None, b"f", ())
    )


def test_numbers_vectors_and_nan_patterns() -> None:
    assert results("(f32.const nan:canonical) (f64.const nan:arithmetic)") == (
        NanPattern(Kind.F32, canonical=True),
        NanPattern(Kind.F64, canonical=False),
    )
    assert results("(v128.const i16x8 1 2 3 4 5 6 7 -1)") == (
        Number(Kind.V128, 0xFFFF0007_00060005_00040003_00020001),
    )
    assert results("(v128.const f32x4 1 nan:canonical 0 -0)") == (
        VectorPattern(Kind.F32, (0x3F800000, NanPattern(Kind.F32, canonical=True), 0, 0x80000000)),
    )


def test_references_and_choices() -> None:
    assert results("(ref.null func) (ref.null) (ref.extern 3) (ref.host 4) (ref.i31)") == (
        Null("func"),
        Null(""),
        HostReference(Kind.EXTERNREF, 3),
        HostReference(Kind.ANYREF, 4),
        ReferencePattern("i31"),
    )
    assert results("(either (i32.const 1) (i32.const 2))") == (
        Either((Number(Kind.I32, 1), Number(Kind.I32, 2))),
    )


def test_a_command_of_the_future_is_kept_as_unknown() -> None:
    assert command('(assert_suspension (invoke "f") "x")') == Unknown(0, "assert_suspension")


@pytest.mark.parametrize(
    "text",
    [
        "\n(assert_return)",
        "\n(invoke)",
        '\n(invoke "f" (i32.const))',
        '\n(invoke "f" (i32.const 99999999999))',
        '\n(invoke "f" (v128.const i8x16 1))',
        '\n(invoke "f" (f32.const nan:canonical))',
        '\n(assert_invalid (func) "x")',
    ],
)
def test_a_command_that_makes_no_sense_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ScriptError, match="line 2: "):
        list(read_script(text.encode()))


def test_characters_that_wasmtimes_parser_refuses_are_written_as_escapes() -> None:
    text = '(module (func (export "\u202eabc\u2066")))'.encode()
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.wat2wasm(text)
    engine = wasmtime.Engine()
    (export,) = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(parser_text(text)))).exports
    assert export.name == "\u202eabc\u2066"


def test_other_text_is_not_touched() -> None:
    text = '(module (func (export "\u2028é")))'.encode()
    assert parser_text(text) == text
    assert parser_text(b"\xe2\x80\xff") == b"\xe2\x80\xff"
