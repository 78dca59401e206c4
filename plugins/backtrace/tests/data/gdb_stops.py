"""Run by gdb: stop once at each of some offsets of a library; write down the frames.

The arguments are in the convenience variables $offsets, a JSON file, and $result.
"""

import json
from pathlib import Path

import gdb

gdb.execute("set pagination off")
gdb.execute("set print asm-demangle off")
gdb.execute("set print demangle off")
gdb.execute("set confirm off")
gdb.execute("set backtrace limit 300")
gdb.execute("break ready")
gdb.execute("run")
base = int(gdb.parse_and_eval("$rdi"))
OFFSETS = set(json.loads(Path(gdb.convenience_variable("offsets").string()).read_text()))
for offset in OFFSETS:
    gdb.Breakpoint(f"*{base + offset:#x}", internal=True, temporary=True)


def symbol(address):
    text = gdb.execute(f"info symbol {address:#x}", to_string=True)
    return None if text.startswith("No symbol") else text.split()[0]


stops = []
gdb.execute("continue")
while gdb.selected_inferior().pid:
    frames = []
    frame = gdb.newest_frame()
    while frame is not None:
        pc = frame.pc()
        name = symbol(pc if not frames else pc - 1)
        if not frames and pc - base not in OFFSETS:
            break
        if gdb.solib_name(pc) is None or "wasmtime" not in gdb.solib_name(pc):
            break
        frames.append([pc - base, name])
        frame = frame.older()
    if frames:
        stops.append(frames)
    gdb.execute("continue")
Path(gdb.convenience_variable("result").string()).write_text(json.dumps(stops))
