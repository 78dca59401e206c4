// The guest of unwind_test.py: three structs with destructors, and what goes wrong below them.
//
// Built by the example with: g++ -O1 -shared -fPIC -o guest.so guest.cpp

extern "C" {
void dropped(int number);
void panic(void);
// Calls function(argument) and stops what unwinds out of it, then resumes it.
void catch_unwind_with_arg(void (*function)(int), int argument);
}

enum { CAUSE_PAGE_FAULT = 1, CATCH = 2 };

#define SEPARATE __attribute__((noinline)) static

namespace {
struct MyStruct {
    int number;
    explicit MyStruct(int number) : number(number) {}
    ~MyStruct() { dropped(number); }
};
}

SEPARATE void cause(int options)
{
    if (options & CAUSE_PAGE_FAULT)
        *(volatile int *)0x5050deadbeef = 0x55555555;
    else
        panic();
}

SEPARATE void inner(int options)
{
    MyStruct my_struct(3);
    cause(options);
}

SEPARATE void middle(int options)
{
    MyStruct my_struct(2);
    if (options & CATCH)
        catch_unwind_with_arg(inner, options);
    else
        inner(options);
}

extern "C" void unwind_test(int options)
{
    MyStruct my_struct(1);
    middle(options);
}
