"""What stands in the documentation's pages: blocks of code, files, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugins/*/README.md"),
        *ROOT.glob("framework/README.md"),
    ]
)
_BLOCK = re.compile(
    r"(?:in `(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    line: int
    """The line before its first, so that it is the number of lines above it."""
    file: str | None
    """The file that the prose says it is: ``… in `tests/test_mine.py`:``."""

    @property
    def commands(self) -> list[str]:
        """The command lines in it: those behind a prompt, or all where none has one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return prompted or ([] if self.language == "console" else lines)


def blocks(text: str) -> Iterator[Block]:
    """Return a page's blocks in their order."""
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(found["language"], found["text"], line, found["file"])


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level, with what is below that."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]
