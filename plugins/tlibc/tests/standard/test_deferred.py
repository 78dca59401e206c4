"""Tables, bodies and machine code of the functions that are imported when they are called."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs

from theseus_kit.assembly import assemble
from theseus_kit.dispatch.prototype import parse_prototype
from theseus_kit_tlibc.deferred import Deferred
from theseus_kit_tlibc.deferred_tables import TABLES
from theseus_kit_tlibc.listing import Listing

MODULES = sorted({table.module for table in TABLES})


def bodies_of(module):
    return importlib.import_module(f"theseus_kit_tlibc.{module}")


LISTINGS = [
    pytest.param(value, id=f"{module}.{name}")
    for module in MODULES
    for name, value in vars(bodies_of(module)).items()
    if isinstance(value, Listing)
]


@pytest.fixture(scope="module")
def deferred():
    with assemble() as platform:
        services = platform.services
        from theseus_kit_tlibc.library import Library, Options

        yield Deferred(Library(services, Options()), TABLES, None, None, None, None, None)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.module)
def test_every_prototype_has_a_body_that_takes_its_arguments(deferred, table):
    bodies = deferred.bodies(table.module)
    alone = Deferred(deferred.library, [table], None, None, None, None, None)
    for call in alone.system_calls():
        prototype = parse_prototype(call.function.prototype)
        name = f"{'raw_' if table.is_raw else ''}{prototype.name.lstrip('_')}"
        inspect.signature(getattr(bodies, name)).bind(*prototype.arguments)
    for symbol in alone.symbols():
        if not hasattr(symbol, "prototype"):
            continue
        prototype = parse_prototype(symbol.prototype)
        if table.machine_code or table.machine_code_only:
            assert bodies.LISTINGS[symbol.name].code
        if table.machine_code_only:
            continue
        name = parse_prototype(_first_of(table, symbol.prototype)).name.lstrip("_")
        inspect.signature(getattr(bodies, name)).bind(*prototype.arguments)


def _first_of(table, prototype):
    """The line of a table that a symbol, perhaps a further one, stands in."""
    arguments = prototype.partition("(")[2]
    lines = [" ".join(line.split()) for line in table.prototypes.strip().splitlines()]
    name = parse_prototype(prototype).name
    for line in lines:
        own, _, others = line.partition(" = ")
        own = re.sub(r"^\d+: ", "", own)
        if parse_prototype(own).name == name or name in others.split():
            assert own.endswith(arguments)
            return own
    raise AssertionError(name)


@pytest.mark.parametrize("listing", LISTINGS)
def test_every_line_disassembles_to_its_source(listing):
    position = 0
    disassembler = Cs(CS_ARCH_X86, CS_MODE_64)
    for code, source in listing.lines:
        (instruction,) = disassembler.disasm(code, position)
        assert f"{instruction.mnemonic} {instruction.op_str}".strip() == source
        assert instruction.size == len(code)
        position += len(code)


def test_no_symbol_or_system_call_is_provided_twice(deferred):
    with assemble() as platform:
        plugin = next(p for p in platform.services.hooks.c_symbols.get_hookimpls())
        names = [symbol.name for symbol in plugin.function()]
        calls = next(p for p in platform.services.hooks.system_calls.get_hookimpls())
        numbers = [call.number for call in calls.function()]

    assert sorted(names) == sorted(set(names))
    assert sorted(numbers) == sorted(set(numbers))


def test_a_platform_imports_none_of_the_bodies():
    program = f"""
import sys
from theseus_kit import assemble
with assemble() as platform:
    platform.boot()
print([m for m in {MODULES} if "theseus_kit_tlibc." + m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["sorting", "jumping", "dividing", "floats"])
def test_a_traced_program_sees_the_same(compiled, on_the_host, tmp_path, name):
    from .conftest import in_the_guest, programs_of

    image, number = compiled("text_program.c"), programs_of("text_program.c").index(name)
    options = {"trace": {"file": str(tmp_path / "trace"), "include": "c.*"}}
    plugins = ["region", "signals", "backtrace", "path", "tlibc", "trace"]
    with assemble(plugins, options=options) as platform:
        seen = in_the_guest(platform, image, number)

    assert seen == on_the_host(image, number)
