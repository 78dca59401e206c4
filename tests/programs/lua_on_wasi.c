/* What Lua needs that the C library for WASI has not: the functions say no, as they may; the tag is
   the exception that longjmp throws, where it is made of WebAssembly's exceptions. */
#include <stdio.h>
#include <stdlib.h>

int system(const char *command) { return command ? -1 : 0; }
FILE *tmpfile(void) { return 0; }
char *tmpnam(char *name) { return 0; }

__asm__(".tagtype __c_longjmp i32\n"
        ".globl __c_longjmp\n"
        "__c_longjmp:\n");
