"""The README's examples do what they say."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_every_example_prints_what_its_comments_say() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        promised = re.findall(r"print\(.*\)  # (.*)", block)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(README), "exec"), {"__name__": "example"})
        assert promised
        for line, promise in zip(printed.getvalue().splitlines(), promised, strict=True):
            assert promise == line or promise.startswith(f"{line}: ")
