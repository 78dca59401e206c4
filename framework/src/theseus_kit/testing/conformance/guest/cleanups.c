/* What the suite of unwinding cleans up: C's cleanup attribute (-fexceptions), whose landing pads
   a personality routine finds as libgcc's does; and a function that catches what is thrown. */

typedef unsigned long word;

int order[16];
int count;

word _Unwind_GetLanguageSpecificData(void *context);
word _Unwind_GetRegionStart(void *context);
word _Unwind_GetIP(void *context);
void _Unwind_SetGR(void *context, int number, word value);
void _Unwind_SetIP(void *context, word address);
int _Unwind_RaiseException(void *exception);

enum { SEARCH_PHASE = 1, CLEANUP_PHASE = 2, HANDLER_FRAME = 4 };
enum { HANDLER_FOUND = 6, INSTALL_CONTEXT = 7, CONTINUE_UNWIND = 8 };

static word uleb(const unsigned char **position)
{
    word value = 0;
    int shift = 0;
    unsigned char byte;
    do {
        byte = *(*position)++;
        value |= (word)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return value;
}

static int install(void *context, void *exception, word landing_pad)
{
    _Unwind_SetGR(context, 0, (word)exception);
    _Unwind_SetGR(context, 1, 0);
    _Unwind_SetIP(context, landing_pad);
    return INSTALL_CONTEXT;
}

/* The call-site table: header (lpstart and ttype encodings both omitted, call sites in uleb128),
   then start, length, landing pad, action of each call site. */
int __gcc_personality_v0(int version, int actions, word class, void *exception, void *context)
{
    const unsigned char *table = (const unsigned char *)_Unwind_GetLanguageSpecificData(context);
    if (version != 1 || !(actions & CLEANUP_PHASE) || !table || table[0] != 0xff
        || table[1] != 0xff || table[2] != 1)
        return CONTINUE_UNWIND;
    table += 3;
    word size = uleb(&table);
    const unsigned char *end = table + size;
    word start = _Unwind_GetRegionStart(context);
    word offset = _Unwind_GetIP(context) - 1 - start;
    (void)class;
    while (table < end) {
        word first = uleb(&table), length = uleb(&table);
        word landing_pad = uleb(&table), action = uleb(&table);
        (void)action;
        if (first <= offset && offset < first + length)
            return landing_pad ? install(context, exception, start + landing_pad)
                               : CONTINUE_UNWIND;
    }
    return CONTINUE_UNWIND;
}

static void note(int *what)
{
    order[count++] = *what;
}

__attribute__((noinline)) long inner_cleanup(long (*callback)(void))
{
    __attribute__((cleanup(note))) int second = 2;
    __attribute__((cleanup(note))) int first = 1;
    return callback() + first + second;
}

__attribute__((noinline)) long outer_cleanup(long (*callback)(void))
{
    __attribute__((cleanup(note))) int third = 3;
    return inner_cleanup(callback) + third;
}

/* Catches whatever passes: its LSDA is the distance from itself to the landing pad. */
static __attribute__((used)) int catch_all(int version, int actions, word class, void *exception, void *context)
{
    (void)version, (void)class;
    if (actions & SEARCH_PHASE)
        return HANDLER_FOUND;
    if (!(actions & HANDLER_FRAME))
        return CONTINUE_UNWIND;
    word data = _Unwind_GetLanguageSpecificData(context);
    return install(context, exception, data + *(const int *)data);
}

/* long catching(long (*callback)(void)): what the callback returns, or 42 if it throws. */
__asm__(
    ".text\n.globl catching\n.type catching, @function\n"
    "catching:\n"
    "    .cfi_startproc\n"
    "    .cfi_personality 0x1b, catch_all\n"
    "    .cfi_lsda 0x1b, .Ldata_of_catching\n"
    "    push %rbp\n"
    "    .cfi_def_cfa_offset 16\n"
    "    .cfi_offset rbp, -16\n"
    "    mov %rsp, %rbp\n"
    "    .cfi_def_cfa_register rbp\n"
    "    call *%rdi\n"
    "    pop %rbp\n"
    "    .cfi_remember_state\n"
    "    .cfi_def_cfa rsp, 8\n"
    "    ret\n"
    ".Lpad_of_catching:\n"
    "    .cfi_restore_state\n"
    "    mov $42, %eax\n"
    "    pop %rbp\n"
    "    .cfi_def_cfa rsp, 8\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size catching, .-catching\n"
    ".section .gcc_except_table,\"a\",@progbits\n"
    ".balign 4\n"
    ".Ldata_of_catching:\n"
    "    .long .Lpad_of_catching - .Ldata_of_catching\n"
    ".text\n");

/* struct _Unwind_Exception: class, destructor, two private words; 16-byte aligned. */
static word thrown[4] __attribute__((aligned(16))) = {0x746573656874};

long throws(void)
{
    _Unwind_RaiseException(thrown);
    return 0;
}
