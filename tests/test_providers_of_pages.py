"""The whole providers of the pages keep the contract, as far as they say they do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from theseus_kit import Plugin
from theseus_kit.testing.conformance.results import Outcome
from theseus_kit.testing.conformance.runner import run_test, suites_for

from .pages import ROOT, blocks

DOCS = ROOT / "docs"
PAGES = [
    *(page for page in sorted(DOCS.glob("hooks/*.md")) if page.stem != "c-library"),  # no suite
    DOCS / "write-a-plugin.md",
]
KNOWN = {
    ("TwoPages", "test_ended_tasks_give_their_storage_back"): "a megabyte is more than two pages",
    ("TwoPages", "test_the_blocks_of_removed_modules_are_freed"): "the same",
    (
        "ExportedNames",
        "test_nothing_is_made_up_for_an_address_that_no_symbol_holds",
    ): "it names by the nearest symbol below",
}
GUESSES = {"StackScan"}
"""What the page says is a guess, and not the contract."""


def providers(page: Path) -> list[type[Plugin]]:
    """The providers that a page's Python defines."""
    module = ModuleType("provider_of_a_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        for block in blocks(page.read_text()):
            if block.language == "python" and block.file is None:
                source = "\n" * block.line + block.text
                exec(compile(source, str(page), "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Plugin)
        and value.__module__ == module.__name__
        and value.description.provides
        and value.__name__ not in GUESSES
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_s_provider_keeps_its_group_s_contract(
    page: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for provider in providers(page):
        for suite in suites_for(provider):
            names = [name for name in dir(suite) if name.startswith("test_")]
            results = {name: run_test(suite, name, machine) for name in names}
            failed = {name for name, got in results.items() if got.outcome is Outcome.FAILED}
            known = {name for owner, name in KNOWN if owner == provider.__name__}
            assert failed == known, [results[name].detail for name in failed - known]
