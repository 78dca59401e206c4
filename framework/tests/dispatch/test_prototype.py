"""Prototypes, as headers write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.dispatch.prototype import PrototypeError, parse_prototype

INT = ("integer", 4, True)
UNSIGNED = ("integer", 4, False)
LONG = ("integer", 8, True)
SIZE = ("integer", 8, False)
POINTER = ("pointer", 8, False)
VOID = ("void", 0, False)


@pytest.mark.parametrize(
    ("text", "name", "result", "arguments"),
    [
        ("void *malloc(size_t size)", "malloc", POINTER, [("size", SIZE)]),
        ("void free(void *ptr)", "free", VOID, [("ptr", POINTER)]),
        ("int getpid(void)", "getpid", INT, []),
        ("int getpid()", "getpid", INT, []),
        ("int close(int fd);", "close", INT, [("fd", INT)]),
        ("unsigned long getauxval(unsigned long type)", "getauxval", SIZE, [("type", SIZE)]),
        ("long sysconf(int name)", "sysconf", LONG, [("name", INT)]),
        ("char *getenv(const char *name)", "getenv", POINTER, [("name", POINTER)]),
        ("const char * const f(void)", "f", POINTER, []),
        ("extern double pow(double x, double y)", "pow", ("float", 8, True), None),
        ("float sqrtf(float x)", "sqrtf", ("float", 4, True), [("x", ("float", 4, True))]),
        ("int pipe(int pipefd[2])", "pipe", INT, [("pipefd", POINTER)]),
        (
            "int stat(const char *restrict path, struct stat *restrict buf)",
            "stat",
            INT,
            [("path", POINTER), ("buf", POINTER)],
        ),
        (
            "void qsort(void *base, size_t n, size_t size, int (*compar)(void *, void *))",
            "qsort",
            VOID,
            [("base", POINTER), ("n", SIZE), ("size", SIZE), ("compar", POINTER)],
        ),
        ("int f(int, unsigned, char)", "f", INT, None),
        ("uint8_t f(bool b)", "f", ("integer", 1, False), [("b", ("integer", 1, False))]),
        ("mode_t umask(mode_t mask)", "umask", UNSIGNED, [("mask", UNSIGNED)]),
        ("int f(unsigned char c)", "f", INT, [("c", ("integer", 1, False))]),
        ("int f(signed char)", "f", INT, [("argument1", ("integer", 1, True))]),
        ("int f(enum kind k)", "f", INT, [("k", UNSIGNED)]),
    ],
)
def test_a_header_line_gives_names_widths_and_signs(text, name, result, arguments):
    prototype = parse_prototype(text)

    assert prototype.name == name
    assert prototype.result[:3] == result
    if arguments is not None:
        assert [(a.name, a.type[:3]) for a in prototype.arguments] == arguments
    assert not prototype.variadic


def test_an_argument_without_a_name_is_named_after_its_place():
    prototype = parse_prototype("int f(int, unsigned long, const char *)")

    assert [a.name for a in prototype.arguments] == ["argument1", "argument2", "argument3"]
    assert [a.type[:3] for a in prototype.arguments] == [INT, SIZE, POINTER]


def test_a_variadic_function_keeps_its_fixed_arguments():
    prototype = parse_prototype("int printf(const char *format, ...)")

    assert prototype.variadic
    assert [a.name for a in prototype.arguments] == ["format"]


@pytest.mark.parametrize(
    "text",
    [
        "malloc",
        "int f(int x",
        "struct stat f(void)",
        "int f(long double x)",
        "int f(struct stat s)",
        "int f(...)",
        "int f(..., int x)",
        "int f(void x)",
        "int f(nonsense_t x)",
    ],
)
def test_what_is_no_prototype_is_refused_with_its_text(text):
    with pytest.raises(PrototypeError, match=re.escape(text)):
        parse_prototype(text)


_TYPES = {
    "int": INT,
    "unsigned int": UNSIGNED,
    "size_t": SIZE,
    "ssize_t": LONG,
    "void *": POINTER,
    "const char *const *": POINTER,
    "short": ("integer", 2, True),
    "uint16_t": ("integer", 2, False),
    "double": ("float", 8, True),
}
_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}x", fullmatch=True)


@given(
    name=_NAMES,
    result=st.sampled_from([*_TYPES, "void"]),
    arguments=st.lists(st.tuples(st.sampled_from(sorted(_TYPES)), _NAMES), max_size=9),
    spaces=st.sampled_from([" ", "  ", "\n    "]),
)
def test_a_composed_prototype_comes_apart_into_its_pieces(name, result, arguments, spaces):
    listed = f",{spaces}".join(f"{kind} {argument}" for kind, argument in arguments)

    prototype = parse_prototype(f"{result}{spaces}{name}({listed or 'void'})")

    assert prototype.name == name
    assert prototype.result[:3] == _TYPES.get(result, VOID)
    assert [(a.name, a.type[:3]) for a in prototype.arguments] == [
        (argument, _TYPES[kind]) for kind, argument in arguments
    ]
