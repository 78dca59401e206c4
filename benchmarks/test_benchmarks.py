"""What a measurement relies on: its machine code, its bounds, its peers. Timings are not tested."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import capstone
import pytest


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The benchmarks' modules, which find each other as those of a script do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    names = ("bare_unicorn", "bounds", "figures", "machine_code", "page_tables", "rounds")
    return {name: importlib.import_module(name) for name in names}


@pytest.mark.parametrize("name", ["CALL_LOOP", "OUT_LOOP", "HALT"])
def test_machine_code_is_what_its_assembly_says(name: str, modules: dict[str, ModuleType]) -> None:
    machine_code = modules["machine_code"]
    listing = getattr(machine_code, name)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoded = [
        f"{i.mnemonic} {i.op_str}".strip() for i in decoder.disasm(machine_code.code_of(listing), 0)
    ]
    assert decoded == [assembly for assembly, _ in listing]


def test_a_bare_engine_leaves_for_python_as_often_as_it_is_asked_to(
    modules: dict[str, ModuleType],
) -> None:
    bare = modules["bare_unicorn"].BareUnicorn()
    calls: list[int] = []
    bare.hook_out(lambda engine, port, size, value, data: calls.append(size))
    bare.out_round_trips(12)
    assert calls == [1] * 12


def test_page_tables_map_a_page_with_its_protection(modules: dict[str, ModuleType]) -> None:
    tables = modules["page_tables"].PageTables(0x10_0000, 1 << 20)
    address = 0x1000_0000_3000
    tables.map(address, 0x5000, 0x1000, 3)
    assert tables.entry(address) == 0x5000 | 0x63 | 1 << 63
    assert tables.entry(address + 0x1000) == 0


def test_a_ratio_within_its_bound_is_met(modules: dict[str, ModuleType]) -> None:
    figures = modules["figures"]
    met = [
        figures.Figure("f", value, "peer", 1.0, bound=figures.Bound(1.05, least=0.95)).met
        for value in (0.9, 0.95, 1.0, 1.05, 1.1)
    ]
    assert met == [False, True, True, True, False]


def test_an_absolute_bound_looks_at_the_value(modules: dict[str, ModuleType]) -> None:
    figures = modules["figures"]
    bound = figures.Bound(20e-6, absolute=True)
    assert figures.Figure("f", 19e-6, "peer", 1e-6, bound=bound).met
    assert not figures.Figure("f", 21e-6, "peer", 1.0, bound=bound).met


def test_a_figure_without_a_bound_is_neither_met_nor_missed(
    modules: dict[str, ModuleType],
) -> None:
    assert modules["figures"].Figure("f", 1.0, "peer", 1.0).met is None


def test_a_bound_belongs_to_a_name_and_a_peer(modules: dict[str, ModuleType]) -> None:
    figure = modules["figures"].Figure
    given = [figure("fib(30)", 1.0, peer, 1.0) for peer in ("bare Unicorn", "wasmtime-py", "x")]
    bounded = modules["bounds"].with_bounds("emulated", given)
    assert [f.bound and f.bound.most for f in bounded] == [1.3, 22, None]


def test_rounds_take_turns_and_the_median_counts(modules: dict[str, ModuleType]) -> None:
    turns: list[str] = []
    values = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 3.0, 4.0, 8.0])}

    def contestant(name: str) -> float:
        turns.append(name)
        return next(values[name])

    found = modules["rounds"].interleave(
        {"a": lambda: contestant("a"), "b": lambda: contestant("b")}, 3
    )
    assert found == {"a": 2.0, "b": 4.0}
    assert "".join(turns) == "ab" + "ab" + "ba" + "ab"
