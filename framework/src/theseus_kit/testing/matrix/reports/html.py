"""A run as one self-contained page: filter, search, a cell's detail, comparison with another run.

The page is ``page.html`` beside this file with the runs as data in it. What is shown is in the
address after ``#``, so that a view can be sent to somebody.
"""

from __future__ import annotations

from importlib.resources import files

from theseus_kit.testing.matrix.reports.run_json import RunReport, run_json


def html_page(report: RunReport, earlier: RunReport | None = None) -> bytes:
    """Return the page of a run, compared with an earlier one if given."""
    page = (files("theseus_kit.testing.matrix.reports") / "page.html").read_text("utf-8")
    data = _embedded(run_json(report))
    before = "null" if earlier is None else _embedded(run_json(earlier))
    head, _, rest = page.partition('"RUN"')
    middle, _, tail = rest.partition('"EARLIER"')
    return f"{head}{data}{middle}{before}{tail}".encode()


def _embedded(json: bytes) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    return (
        json.decode()
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
