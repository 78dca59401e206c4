// Throws and catches in the ways that test_raising.py and test_kills.py ask for.
#include <stdexcept>
#include <unwind.h>
extern "C" { int order[64]; int count; void (*python)(int); void note(int n) { order[count++] = n; } }
#define HIDDEN __attribute__((noinline)) static
struct Drop { int n; explicit Drop(int n) : n(n) {} ~Drop() { note(n); } };

HIDDEN int inner(int what) {
    Drop d(1);
    if (what == 1) throw 42;
    if (what == 2) throw std::runtime_error("boom");
    if (what == 3) *(volatile int *)0x10 = 1;
    if (what == 4) python(what);
    if (what == 5) __builtin_trap();
    return what;
}
HIDDEN int middle(int what) { Drop d(2); return inner(what) + 1; }

extern "C" int outer(int what) {
    Drop d(3);
    try { return middle(what); }
    catch (int n) { return n; }
    catch (std::exception &e) { return e.what()[0]; }
}
extern "C" int uncaught(int what) { Drop d(4); return middle(what) + 1; }
extern "C" int catches_all(int what) {
    try { Drop d(5); return middle(what); } catch (...) { note(6); return -1; }
}
extern "C" int throws_on(int what) {
    try { Drop d(5); return catches_all(what), uncaught(what); } catch (...) { note(7); throw; }
}
extern "C" int nested(void) {
    try {
        Drop d(8);
        try { middle(1); } catch (int n) { note(9); throw std::runtime_error("second"); }
    } catch (std::exception &e) { note(10); return e.what()[0]; }
    return 0;
}
struct Throwing { ~Throwing() noexcept(false) { try { middle(1); } catch (int) { note(11); } } };
extern "C" int in_a_destructor(void) {
    try { Throwing t; middle(2); } catch (std::exception &) { return 12; }
    return 0;
}
extern "C" int quiet(int what) noexcept { return middle(what); }
HIDDEN int deep(int n) { Drop d(0); count = 0; if (!n) throw 7; return deep(n - 1) + 1; }
extern "C" int recurses(int n) { try { return deep(n); } catch (int v) { return v; } }
extern "C" int throw_once(void) { try { throw 1; } catch (int n) { return n; } }

HIDDEN _Unwind_Reason_Code stop(int, _Unwind_Action actions, _Unwind_Exception_Class,
                                struct _Unwind_Exception *, struct _Unwind_Context *, void *end) {
    if (actions & _UA_END_OF_STACK) __builtin_longjmp((void **)end, 1);
    return _URC_NO_REASON;
}
HIDDEN void force(void **end) {
    static struct _Unwind_Exception exception;
    Drop d(1);
    note((int)_Unwind_ForcedUnwind(&exception, stop, end));
}
extern "C" int forced(void) {
    void *end[5];
    if (__builtin_setjmp(end)) return 13;
    Drop d(2);
    force(end);
    return 0;
}
