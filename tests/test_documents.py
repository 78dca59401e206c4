"""The Python examples of the README and of every page are true: each page is run from its top."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("plugins/*/README.md"),
    *ROOT.glob("framework/README.md"),
]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def with_python(pages: list[Path]) -> list[Path]:
    return [page for page in sorted(pages) if PYTHON_BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", with_python(PAGES), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_s_python_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text()
    module = ModuleType("example_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    for block in PYTHON_BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        source = "\n" * line + block.group(1)  # errors then show the page's own line numbers
        exec(compile(source, str(page), "exec"), module.__dict__)


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_s_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose)
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not (page.parent / target).exists()] == []
