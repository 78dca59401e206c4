"""The README and every page are true: Python runs, commands exist, links lead somewhere.

Each page's Python is run from its top. What the prose says is a file of somebody's own is left to
the test of that path: test_write_a_plugin.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from theseus_kit.testing.matrix.definition import parse_matrix

from .pages import PAGES, ROOT, Block, blocks

BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(theseus-kit [^`]+)`")
PLACE = re.compile(r"`((?:plugins|framework|tests|docs|examples|benchmarks)/[\w./-]+)`")
OPTION = re.compile(r"^│[ *]+(--[\w-]+)", re.MULTILINE)
COMMAND = re.compile(r"^│ +([a-z-]+) ", re.MULTILINE)
TAKES_THE_REST = (".wat", ".wasm", ".cwasm", ".py", "--")
"""Behind a module or a program, everything belongs to that."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks(page.read_text()) if block.language in languages]


def python_of(page: Path) -> list[Block]:
    return [block for block in blocks_of(page, "python") if block.file is None]


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)], ids=name)
def test_a_page_s_python_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module = ModuleType("example_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    for block in python_of(page):
        source = "\n" * block.line + block.text  # errors then show the page's own line numbers
        exec(compile(source, str(page), "exec"), module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_s_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page.read_text()))
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not leads_somewhere(page, target)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    if any(block.file for block in blocks(text)):
        return  # its files are the reader's own
    named = PLACE.findall(BLOCK.sub("", text))
    assert [place for place in named if not (ROOT / place).exists()] == []


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, heading = target.partition("#")
    found = page.parent / path if path else page
    return found.exists() and (not heading or heading in headings(found))


def headings(page: Path) -> list[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = re.findall(r"\]\(([\w/-]+\.md)\)", index.read_text())
    pages = {str(page.relative_to(index.parent)) for page in index.parent.rglob("*.md")}
    assert pages - {"README.md"} - set(listed) == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_s_commands_and_their_options_exist(page: Path) -> None:
    lines = [line for block in blocks_of(page, "", "console", "sh") for line in block.commands]
    lines += INLINE.findall(BLOCK.sub("", page.read_text()))
    assert [problem for line in lines for problem in problems(line)] == []


def problems(line: str) -> list[str]:
    """What is wrong with a command line of the kit's; nothing with any other."""
    words = re.sub(r"[\[\]]", " ", line.partition(" #")[0]).split()
    if not words or Path(words[0]).name != "theseus-kit" or len(words) == 1:
        return []
    command, *rest = words[1:]
    if command not in known("--help"):
        return [f"{line}: no command {command!r}"]
    end = next((i for i, word in enumerate(rest) if word.endswith(TAKES_THE_REST)), len(rest))
    options = [word.partition("=")[0] for word in rest[:end] if word.startswith("--")]
    return [f"{line}: no option {o!r}" for o in options if o not in known(command, "--help")]


@cache
def known(*arguments: str) -> frozenset[str]:
    """The commands or options that a help text lists."""
    shown = subprocess.run(
        [sys.executable, "-m", "theseus_kit.cli", *arguments],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset((OPTION if len(arguments) > 1 else COMMAND).findall(shown.stdout))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page, "toml")], ids=name)
def test_a_page_s_toml_is_right(page: Path) -> None:
    for block in blocks_of(page, "toml"):
        content = tomllib.loads(block.text)
        if "tests" in content:  # a matrix
            parse_matrix(content, page)
