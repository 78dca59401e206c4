"""How the command line ends its process.

The programs are run isolated (``-I``): the user's environment may ask for no buffers, or for the
developers' mode.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAM = """
from theseus_kit.cli.ending import end
{before}
try:
    end({status}, at_once={at_once})
except SystemExit:
    print("the interpreter's own end")
    raise
"""


def end(
    before: str, status: int = 3, *, at_once: bool = True, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    program = PROGRAM.format(before=before, status=status, at_once=at_once)
    return subprocess.run(
        [sys.executable, "-I", *flags, "-c", program], capture_output=True, text=True, check=False
    )


def test_a_run_ends_without_the_interpreter_s_own_end():
    done = end("")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("import sys; sys.setprofile(lambda *event: None)", id="a profiler"),
        pytest.param("import sys; sys.settrace(lambda *event: None)", id="a debugger"),
        pytest.param(
            "import sys\nif hasattr(sys, 'monitoring'): sys.monitoring.use_tool_id(1, 'coverage')\n"
            "else: sys.setprofile(lambda *event: None)",
            id="a monitor",
        ),
        pytest.param(
            "from threading import Event, Thread\nThread(target=Event().wait, args=(0.1,)).start()",
            id="a thread",
        ),
    ],
)
def test_who_may_look_at_the_end_gets_the_whole_of_it(before):
    done = end(before)
    assert (done.returncode, done.stdout) == (3, "the interpreter's own end\n")


def test_developers_get_the_whole_end():
    done = end("", flags=["-X", "dev"])
    assert (done.returncode, done.stdout) == (3, "the interpreter's own end\n")


def test_what_was_printed_and_what_exit_handlers_print_is_written_out():
    done = end("import atexit; atexit.register(print, 'last'); print('first')")
    assert (done.returncode, done.stdout, done.stderr) == (3, "first\nlast\n", "")


@pytest.mark.parametrize("at_once", [True, False])
def test_results_that_cannot_be_written_are_a_failure_and_one_line(at_once):
    program = (
        f"from theseus_kit.cli.ending import end\nprint('a result')\nend(0, at_once={at_once})\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    expected = "theseus-kit: cannot write the results: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, expected)
