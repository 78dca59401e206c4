"""The reports of a run: JSON, JUnit XML, the page, the table."""

from __future__ import annotations

import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix import CaseOutcome, CaseResult, CellResult, Outcome
from theseus_kit.testing.matrix.reports import (
    RunReport,
    html_page,
    junit_xml,
    read_run,
    result_table,
    run_json,
)


def cell(machine: str, tests: str, outcome: Outcome, **values: object) -> CellResult:
    choices = {"machine": machine, "wasmtime": "installed", "tests": tests}
    return CellResult(choices, f"{machine}-{tests}", outcome, **values)  # type: ignore[arg-type]


def run_of(*cells: CellResult, started: str = "2030-01-02T03:04:05+00:00") -> RunReport:
    axes = {
        "machine": ("emulated", "native"),
        "wasmtime": ("installed",),
        "tests": ("core", "wasi"),
    }
    return RunReport("matrix.toml", started, 12.5, axes, cells)


CASES = (
    CaseResult("i32.wast", CaseOutcome.PASSED, seconds=0.25, checks=400),
    CaseResult("grow.wast", CaseOutcome.FAILED, "line 3: </script><b>\x00 & more\nsecond line"),
    CaseResult("skipped.wast", CaseOutcome.SKIPPED, "not here"),
)
REPORT = run_of(
    cell("emulated", "core", Outcome.FAILED, reason="1 of 3 failed", cases=CASES, log="a log\n"),
    cell("emulated", "wasi", Outcome.PASSED, cases=CASES[:1]),
    cell("native", "core", Outcome.CRASHED, reason="it died of SIGSEGV", log="#0 0x12 in memcpy"),
    cell("native", "wasi", Outcome.SKIPPED, reason="makes no sense"),
)
EARLIER = run_of(
    cell("emulated", "core", Outcome.PASSED, cases=CASES[:1]),
    cell("emulated", "wasi", Outcome.FAILED, reason="it did"),
    cell("native", "core", Outcome.CRASHED),
    started="2030-01-01T03:04:05+00:00",
)


def test_a_run_written_as_json_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(run_json(REPORT))
    assert read_run(path) == REPORT
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="not a matrix run"):
        read_run(path)


def test_junit_has_a_suite_for_each_cell_and_counts_what_is_in_it() -> None:
    root = ElementTree.fromstring(junit_xml(REPORT))
    suites = {suite.get("name"): suite for suite in root.findall("testsuite")}
    assert len(suites) == 4
    core = suites["emulated · installed · core"]
    counts = {name: core.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    failure = core.find("testcase[@name='grow.wast']/failure")
    assert failure is not None
    assert failure.text == "line 3: </script><b>\N{REPLACEMENT CHARACTER} & more\nsecond line"
    crashed = suites["native · installed · core"]
    assert (crashed.get("tests"), crashed.get("errors")) == ("1", "1")
    error = crashed.find("testcase/error")
    assert error is not None
    assert error.get("message") == "crashed: it died of SIGSEGV"
    assert suites["native · installed · wasi"].get("skipped") == "1"


def test_the_table_has_a_row_for_each_assembly() -> None:
    text = StringIO()
    Console(file=text, width=120).print(result_table(REPORT))
    lines = [re.sub(r"\s+", " ", line) for line in text.getvalue().splitlines()]
    assert any("emulated │ 1 failed, 1 passed │ 1 passed" in line for line in lines)
    assert any("native │ crashed │ skipped" in line for line in lines)


def test_nothing_in_the_page_ends_its_script_or_asks_for_more() -> None:
    page = html_page(REPORT, EARLIER).decode()
    assert page.count("</script>") == 1
    assert not re.search(r"""(src|href)=["']?http|@import|url\(""", page)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if found is None:
        pytest.skip("no Chromium here to show the page")
    return found


def shown(chromium: str, directory: Path, fragment: str = "") -> str:
    """The document as the browser has it after running the page's script."""
    page = directory / "matrix.html"
    page.write_bytes(html_page(REPORT, EARLIER))
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", f"--user-data-dir={directory / 'profile'}"),
        *("--virtual-time-budget=2000", "--dump-dom", f"{page.as_uri()}#{fragment}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.partition("<script>")[0]


def test_a_browser_shows_every_cell_and_what_changed(chromium: str, tmp_path: Path) -> None:
    document = shown(chromium, tmp_path)
    assert "4 cells: 1 failed, 1 passed, 1 crashed, 1 skipped" in document
    assert "Against 2030-01-01T03:04:05+00:00: 1 broken, 1 mended, 0 changed, 1 new" in document
    assert document.count('<tr tabindex="0"') == 4


def test_the_address_filters_searches_and_opens_a_cell(chromium: str, tmp_path: Path) -> None:
    assert shown(chromium, tmp_path, "machine=native").count('<tr tabindex="0"') == 2
    assert shown(chromium, tmp_path, "change=broken").count('<tr tabindex="0"') == 1
    assert shown(chromium, tmp_path, "text=MEMCPY").count('<tr tabindex="0"') == 1
    document = shown(chromium, tmp_path, "cell=0")
    assert '<section id="detail" aria-live="polite">' in document
    assert "line 3: &lt;/script&gt;&lt;b&gt;" in document
    assert "Earlier: passed" in document
    assert "<pre>a log" in document
