/* What the suite of symbolication names: symbols of every kind, inlined functions, lines.
   The suite finds lines by the remarks in this file, so both change together. */

int exported_variable = 7;
static int counter = 1;

static __attribute__((noinline)) int local_function(int x)
{
    return x * counter;
}

int exported_function(int x)
{
    return local_function(x) + exported_variable; /* line: exported_function */
}

int mangled(int a, int b) __asm__("_ZN4demo3addEii");

int mangled(int a, int b)
{
    return a + b;
}

static inline __attribute__((always_inline)) int innermost_inlined(int *address)
{
    return *(volatile int *)address; /* line: innermost_inlined */
}

static inline __attribute__((always_inline)) int middle_inlined(int *address)
{
    return innermost_inlined(address) + 1; /* line: middle_inlined */
}

int reads(int *address)
{
    return middle_inlined(address) * 2; /* line: reads */
}
