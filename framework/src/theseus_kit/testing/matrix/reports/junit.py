"""A run as JUnit XML: a suite for each cell, a case for each of its tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from theseus_kit.testing.matrix.reports.run_json import RunReport
from theseus_kit.testing.matrix.results import CaseOutcome, CellResult, Outcome

# What XML 1.0 has no way to write, https://www.w3.org/TR/xml/#charsets
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: RunReport) -> bytes:
    """Return a run as JUnit XML. A cell that broke as a whole has a case ``cell`` with an error."""
    root = ElementTree.Element("testsuites", name=report.matrix, time=f"{report.seconds:.3f}")
    for result in report.cells:
        root.append(_suite(result, report.started))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _suite(result: CellResult, started: str) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite", name=result.title, timestamp=started, time=f"{result.seconds:.3f}"
    )
    properties = ElementTree.SubElement(suite, "properties")
    for axis, value in result.cell.items():
        ElementTree.SubElement(properties, "property", name=axis, value=value)
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for case in result.cases:
        element = _case(suite, result, case.name, case.seconds)
        if case.outcome is CaseOutcome.FAILED:
            counts["failures"] += 1
            _detail(element, "failure", case.message)
        elif case.outcome is not CaseOutcome.PASSED:
            counts["skipped"] += 1
            _detail(element, "skipped", case.message)
    if result.outcome is Outcome.SKIPPED and not result.cases:
        counts["skipped"] += 1
        _detail(_case(suite, result, "cell", 0.0), "skipped", result.reason)
    elif not result.outcome.is_explained and not counts["failures"]:
        counts["errors"] += 1
        element = _case(suite, result, "cell", result.seconds)
        _detail(element, "error", f"{result.outcome.value}: {result.reason}")
    if result.log:
        ElementTree.SubElement(suite, "system-out").text = _writable(result.log)
    suite.set("tests", str(len(suite.findall("testcase"))))
    for name, count in counts.items():
        suite.set(name, str(count))
    return suite


def _case(
    suite: ElementTree.Element, result: CellResult, name: str, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=result.title, name=_writable(name), time=f"{seconds:.3f}"
    )


def _detail(element: ElementTree.Element, tag: str, message: str) -> None:
    text = _writable(message)
    detail = ElementTree.SubElement(element, tag, message=text.partition("\n")[0])
    detail.text = text


def _writable(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
