"""Scripts of the WebAssembly specification's suite: a case for each ``.wast`` file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from theseus_kit.assembly import assemble
from theseus_kit.runtime.artifacts import CompileOn
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult
from theseus_kit.testing.matrix.suite_files import suite_files
from theseus_kit.testing.wast.on_platform import platform_runner
from theseus_kit.testing.wast.results import FileResult

_SHOWN_FAILURES = 5


def run_tests(job: Job) -> Iterator[CaseResult]:
    """Run the files one after the other; after one that killed the guest on a new platform."""
    files = suite_files(job.test_set)
    # Only the installed package is loaded by the host, and compiles for a library of its version.
    compile_on: CompileOn = "guest" if job.wasmtime is not None else job.test_set.compile
    while files:
        with assemble(job.plugins, job.machine, job.options) as platform:
            platform.boot(job.wasmtime)
            runner = platform_runner(platform, compile_on)
            while files:
                result = runner.run_file(files.pop(0))
                yield _case(result)
                if result.aborted is not None:
                    break


def _case(result: FileResult) -> CaseResult:
    name = Path(result.path).name
    checks = result.passed + result.failed + len(result.skipped)
    if result.failures:
        shown = [str(failure) for failure in result.failures[:_SHOWN_FAILURES]]
        more = result.failed - len(shown)
        message = "\n".join(shown + ([f"{more} more failures"] if more else []))
        return CaseResult(name, CaseOutcome.FAILED, message, result.seconds, checks)
    reasons = "; ".join(sorted({skip.reason for skip in result.skipped}))
    outcome = CaseOutcome.PASSED if result.passed or not reasons else CaseOutcome.SKIPPED
    return CaseResult(name, outcome, reasons, result.seconds, checks)
