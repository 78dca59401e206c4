"""The reports of a matrix run: for a terminal, for programs, and a page for people."""

from theseus_kit.testing.matrix.reports.html import html_page
from theseus_kit.testing.matrix.reports.junit import junit_xml
from theseus_kit.testing.matrix.reports.run_json import RunReport, read_run, run_json
from theseus_kit.testing.matrix.reports.table import result_table

__all__ = ["RunReport", "html_page", "junit_xml", "read_run", "result_table", "run_json"]
