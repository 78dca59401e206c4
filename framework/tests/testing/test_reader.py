"""Reading ``.wast`` text: tokens, comments, strings, module slices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.testing.wast.reader import (
    Form,
    ModuleText,
    ScriptError,
    decode_string,
    line_of,
    read_forms,
)


def forms(source: bytes) -> list[object]:
    return list(read_forms(source))


def test_atoms_are_text_and_strings_are_bytes() -> None:
    (form,) = forms(b'(invoke $m "f" (i32.const -0x1_0))')
    assert form == ["invoke", "$m", b"f", ["i32.const", "-0x1_0"]]


def test_a_form_knows_where_it_starts() -> None:
    first, second = forms(b"(a)\n (b (c))")
    assert isinstance(first, Form)
    assert isinstance(second, Form)
    nested = second[1]
    assert isinstance(nested, Form)
    assert (first.start, second.start, nested.start) == (0, 5, 8)


def test_line_comments_end_at_the_line() -> None:
    assert forms(b";; (a)\n(b ;; )\n c)") == [["b", "c"]]


def test_block_comments_nest() -> None:
    assert forms(b'(a (; ( (; " ;) ) ;) b)') == [["a", "b"]]


def test_annotations_are_passed_over_with_all_that_is_in_them() -> None:
    assert forms(b'(a (@note x ")" (y) , ; ] ) b)') == [["a", "b"]]


def test_an_annotation_may_hold_comments_and_have_a_string_for_a_name() -> None:
    assert forms(b'(@"a b" (; ) ;) ;; )\n) (a)') == [["a"]]


def test_a_quoted_identifier_is_the_same_as_the_bare_one() -> None:
    assert forms(b'(a $"x" $x $"a b")') == [["a", "$x", "$x", "$a b"]]


def test_identifiers_may_be_any_utf8() -> None:
    assert forms("(a $наме \u202e)".encode()) == [["a", "$наме", "\u202e"]]


@pytest.mark.parametrize(
    "text",
    [
        b"(module)",
        b'(module $m (data "\\")") ;; )\n (; ) ;) (func))',
        b"(module (@a ) (func))",
    ],
)
def test_a_module_is_kept_as_a_slice_of_the_source(text: bytes) -> None:
    source = b"  " + text + b' (invoke "f")'
    module, command = forms(source)
    assert module == ModuleText(2, 2 + len(text))
    assert command == ["invoke", b"f"]


def test_a_comment_may_stand_before_the_module_keyword() -> None:
    source = b"((;;)module (func))"
    assert forms(source) == [ModuleText(0, len(source))]


def test_a_word_that_begins_with_module_is_no_module() -> None:
    assert forms(b"(modules (module))") == [["modules", ModuleText(9, 17)]]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (rb'"\t\n\r\"\'\\"', b"\t\n\r\"'\\"),
        (rb'"\00\fF"', b"\x00\xff"),
        (rb'"\u{1F600}\u{e_9}"', "😀é".encode()),
        ('"é"'.encode(), "é".encode()),
    ],
)
def test_string_escapes_stand_for_bytes(literal: bytes, value: bytes) -> None:
    assert decode_string(literal) == value


@pytest.mark.parametrize("literal", [rb'"\x"', rb'"\u{d800}"', rb'"\u{110000}"'])
def test_a_wrong_escape_is_refused(literal: bytes) -> None:
    with pytest.raises(ScriptError, match="line 2: "):
        forms(b"\n(a " + literal + b")")


@given(st.binary(max_size=40))
def test_any_bytes_survive_being_written_as_a_string(data: bytes) -> None:
    literal = '"' + "".join(f"\\{byte:02x}" for byte in data) + '"'
    assert forms(f"(a {literal})".encode()) == [["a", data]]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"\n(a (b)", "line 2: this parenthesis is never closed"),
        (b"(a)\n)", "line 2: this parenthesis closes nothing"),
        (b"a", "line 1: expected a parenthesis"),
        (b"(; (; ;)", "line 1: this comment is never closed"),
        (b'(a)\n(module "x)', "line 2: this string has no end"),
        (b'(a "x)', "line 1: this parenthesis is never closed"),
        (b"(a) ;", "line 1: this is no token"),
    ],
)
def test_broken_text_is_refused_with_its_line(source: bytes, problem: str) -> None:
    with pytest.raises(ScriptError, match=problem):
        forms(source)


def test_lines_are_counted_from_one() -> None:
    assert [line_of(b"a\nb\n", offset) for offset in (0, 1, 2, 4)] == [1, 1, 2, 3]
