// Calls what the platform placed, with something to clean up and to catch behind it.
extern "C" {
int cleaned;
long call_through(void *what);
}
struct Clean { ~Clean() { cleaned++; } };
__attribute__((noinline)) static void throws() { throw 42; }

extern "C" int catches(int kept) {
    // Its product lives in a register that the placed code destroys.
    long product = kept * 31L;
    try { call_through((void *)throws); } catch (int n) { return (int)product + n; }
    return -1;
}
extern "C" long cleans(void *address) {
    Clean clean;
    return call_through(address) + 1;
}
