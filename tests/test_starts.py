"""A second start, with what the first one left in the cache, does what the first one did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from theseus_kit import assemble

EXAMPLES = Path(__file__).parents[1] / "examples"
TRAP = '(module (func (export "trap") unreachable))'


class Starts:
    """Runs ``theseus-kit assemble`` with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.blocks = self.cache / "theseus-kit" / "emulated.blocks"
        self.trap = folder / "trap.wat"
        self.trap.write_text(TRAP)

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "theseus_kit.cli", "assemble", "--quiet"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache), "COLUMNS": "200"}
        done = subprocess.run(
            [*command, *map(str, arguments)],
            **{"capture_output": True, "text": True, "env": environment, "timeout": 120},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def gcd(self, *options: str) -> tuple[int, str, str]:
        return self(*options, "--invoke", "gcd", EXAMPLES / "gcd.wat", "48", "36")


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path)


def test_the_emulated_machine_keeps_its_blocks_beside_the_compiled_modules(starts) -> None:
    assert starts.gcd() == (0, "12\n", "")
    assert starts.blocks.exists()
    assert starts.gcd() == (0, "12\n", "")


def test_a_trap_looks_the_same_at_every_start(starts) -> None:
    first = starts("--backtrace", "full", "--invoke", "trap", starts.trap)
    assert first[0] == 134
    assert starts.blocks.exists()
    assert starts("--backtrace", "full", "--invoke", "trap", starts.trap) == first


def test_damaged_blocks_are_replaced(starts) -> None:
    starts.gcd()
    starts.blocks.write_bytes(starts.blocks.read_bytes()[:5000])
    assert starts.gcd() == (0, "12\n", "")
    assert len(starts.blocks.read_bytes()) > 5000


def test_what_another_program_needs_is_kept_beside(starts) -> None:
    starts("--invoke", "trap", starts.trap)
    kept = starts.blocks.read_bytes()
    assert starts.gcd("--compile", "guest") == (0, "12\n", "")
    assert len(starts.blocks.read_bytes()) > len(kept)
    assert starts.gcd() == (0, "12\n", "")


@pytest.mark.parametrize("option", [["--no-cache"], ["--machine", "native"]])
def test_no_blocks_are_kept_without_a_cache_or_an_emulated_cpu(starts, option) -> None:
    assert starts.gcd(*option) == (0, "12\n", "")
    assert not starts.blocks.exists()


def test_platforms_of_one_process_may_share_their_blocks(tmp_path: Path) -> None:
    options = {"emulated": {"blocks": str(tmp_path / "blocks")}}
    text = (EXAMPLES / "gcd.wat").read_text()

    def gcd(platform) -> int:
        api = platform.wasmtime
        store = api.Store()
        instance = api.Instance(store, api.Module(store.engine, text), [])
        return instance.exports(store)["gcd"](store, 48, 36)

    with assemble(options=options) as platform:
        assert gcd(platform) == 12
    with assemble(options=options) as first, assemble(options=options) as second:
        # The second lies elsewhere in the process, and its library at the same place in it.
        assert gcd(first) == gcd(second) == 12
