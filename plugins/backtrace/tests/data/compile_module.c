// Compiles a module with the library that is its argument: what gdb looks at in test_gdb.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <stddef.h>

struct bytes { size_t size; char *data; };
void ready(void *base) { __asm__ volatile("" ::"r"(base)); }

int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW);
    if (argc < 3 || !library)
        return 2;
#define FIND(name, type) type (*name)() = (type(*)())dlsym(library, #name)
    FIND(wasm_config_new, void *);
    FIND(wasmtime_config_parallel_compilation_set, void);
    FIND(wasm_engine_new_with_config, void *);
    FIND(wasmtime_wat2wasm, void *);
    FIND(wasmtime_module_new, void *);
    Dl_info info;
    dladdr((void *)wasm_config_new, &info);
    ready(info.dli_fbase);
    struct bytes wasm;
    void *module, *config = wasm_config_new();
    wasmtime_config_parallel_compilation_set(config, 0);
    void *engine = wasm_engine_new_with_config(config);
    if (wasmtime_wat2wasm(argv[2], strlen(argv[2]), &wasm))
        return 3;
    return wasmtime_module_new(engine, wasm.data, wasm.size, &module) != 0;
}
