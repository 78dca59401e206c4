"""A run that asks much of its platform in little time, for ``theseus-kit inject --sweep``.

It compiles a module, keeps and loads it again, allocates memories and tables, grows them, calls a
function of the host's, and traps; and it says what it saw, so that a run which went wrong in
silence shows. It catches nothing but the traps it makes: whatever else Wasmtime raises ends it.
"""

from __future__ import annotations

from wasmtime import Engine, Func, FuncType, Instance, Linker, Module, Store, Trap, ValType

TEXT = """
(module
  (import "host" "double" (func $double (param i32) (result i32)))
  (memory (export "memory") 1 64)
  (table (export "table") 2 32 funcref)
  (data (i32.const 16) "theseus")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "grow_table") (param i32) (result i32)
    (table.grow (ref.null func) (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "through_host") (param i32) (result i32)
    (i32.add (call $double (local.get 0)) (i32.const 1)))
  (func (export "divide") (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1)))
  (func $deep (export "deep") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 0))
      (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))
"""


def main() -> None:
    engine = Engine()
    compiled = Module(engine, TEXT)
    module = Module.deserialize(engine, compiled.serialize())
    for _ in range(2):
        store = Store(engine)
        i32 = ValType.i32()
        double = Func(store, FuncType([i32], [i32]), lambda number: 2 * number)
        exports = Instance(store, module, [double]).exports(store)
        run(store, exports)
    linker = Linker(engine)
    linker.define_func("host", "double", FuncType([i32], [i32]), lambda number: 2 * number)
    linked = linker.instantiate(Store(engine), module)
    print("linked", linked is not None)


def run(store: Store, exports: object) -> None:
    def call(name: str, *arguments: int) -> int | None:
        return exports[name](store, *arguments)

    grown_from = call("grow", 3)
    if grown_from == -1:
        raise MemoryError("memory.grow was refused")  # as WebAssembly lets it be
    print("grown from", grown_from, "to", exports["memory"].size(store), "pages")
    print("table from", call("grow_table", 5), "to", exports["table"].size(store))
    call("store", 3 * 65536, 77)
    print("stored", call("load", 3 * 65536))
    print("data", bytes(exports["memory"].read(store, 16, 23)).decode())
    print("through the host", call("through_host", 20))
    print("deep", call("deep", 200))
    for name, arguments in (("divide", (1, 0)), ("load", (1 << 26,)), ("deep", (1 << 30,))):
        try:
            call(name, *arguments)
        except Trap as trap:
            code = trap.trap_code
            print(name, "traps:", None if code is None else code.name)


main()
