"""Lua's interpreter as a program: errors by longjmp (WebAssembly's exceptions), coroutines, files.

Its sources are not part of the repository: ``THESEUS_KIT_LUA`` names the directory they are in,
those of Lua 5.4.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .wasm_programs import Kit, compiled_from, ordinary

_FILES = (
    *("lapi", "lauxlib", "lbaselib", "lcode", "lcorolib", "lctype", "ldblib", "ldebug", "ldo"),
    *("ldump", "lfunc", "lgc", "linit", "liolib", "llex", "lmathlib", "lmem", "loadlib", "lobject"),
    *("lopcodes", "loslib", "lparser", "lstate", "lstring", "lstrlib", "ltable", "ltablib", "ltm"),
    *("lua", "lundump", "lutf8lib", "lvm", "lzio"),
)
_FLAGS = (
    *("-w", "-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS", "-DL_tmpnam=32"),
    *("-lwasi-emulated-signal", "-lwasi-emulated-process-clocks"),
    *("-mexception-handling", "-mllvm", "-wasm-enable-sjlj"),
    *("-mllvm", "-wasm-use-legacy-eh=false"),
)

SCRIPT = rb"""
print(_VERSION, select('#', ...), pcall(error, {code = 3}) == false)
print(pcall(function() local x = nil; return x.y end))
local turn = coroutine.wrap(function(a)
  for i = 1, 3 do a = coroutine.yield(a * i) end
  error("end of coroutine")
end)
print(turn(2), turn(3), turn(4), pcall(turn, 5))
local function deep(n) if n == 0 then error("deep", 0) end return 1 + deep(n - 1) end
print(pcall(deep, 150000), pcall(deep, 1000))
for i = 1, 2000 do assert(not pcall(error, i)) end
local file = assert(io.open("/d/numbers", "w"))
for i = 1, 1000 do file:write(i, "\n") end
file:close()
local sum = 0
for line in io.lines("/d/numbers") do sum = sum + tonumber(line) end
print(sum, os.rename("/d/numbers", "/d/renamed"), os.remove("/d/none"))
local numbers = {}
for i = 1, 50000 do numbers[i] = (i * 7919) % 50021 end
table.sort(numbers)
print(numbers[1], numbers[25000], numbers[50000], collectgarbage("count") > 0)
print(string.format("%5.2f %q", math.pi, "a\nb"), ("x"):rep(3), utf8.len("gr\xc3\xb6sse"))
error("the end")
"""


@pytest.fixture(scope="module")
def lua() -> Path:
    files = [f"{name}.c" for name in _FILES]
    return compiled_from("THESEUS_KIT_LUA", "lua", files, *_FLAGS, own=["lua_on_wasi.c"])


@pytest.fixture(scope="module")
def kit(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(machine, tmp_path_factory.mktemp("cache"))


def test_a_script_prints_and_fails_alike(kit: Kit, lua: Path, tmp_path: Path) -> None:
    there = ordinary(lua, "-", directories=[(tmp_path, "/d")], stdin=SCRIPT)
    assert there.stdout.startswith(b"Lua 5.4\t")
    assert b"\n500500\ttrue\tnil\t/d/none: No such file or directory\t44\n" in there.stdout
    assert there.status == 1
    assert b"the end" in there.stderr
    assert kit("--dir", f"{tmp_path}::/d", lua, "-", stdin=SCRIPT) == there
    assert kit("--memfs", "/d", lua, "-", stdin=SCRIPT) == there
