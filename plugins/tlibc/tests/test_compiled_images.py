"""Images of a C compiler and of the host's zlib, on this C library."""

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled

ZLIB = Path("/lib/x86_64-linux-gnu/libz.so.1")
SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>
#include <sys/stat.h>
#include <sys/mman.h>

__thread int counter = 5;
__thread char zeros[100];
static __thread long hidden __attribute__((tls_model("initial-exec"))) = 7;

int count(void) { return counter++ + (int)hidden++ + zeros[50]; }

int smash(int length) { volatile char buffer[16]; for (int i = 0; i < length; i++)
    ((volatile char *)buffer)[i] = 65; return buffer[3]; }

char *join(const char *a, const char *b) {
    char *result = malloc(strlen(a) + strlen(b) + 1);
    memcpy(result, a, strlen(a));
    memcpy(result + strlen(a), b, strlen(b) + 1);
    return result;
}

int failing(void) { errno = 0; munmap((void *)1, 1); return errno; }

static volatile int caught;
static void handler(int signal, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    caught = signal == SIGSEGV && info->si_addr == (void *)64
        && u->uc_mcontext.gregs[REG_CR2] == 64;
    u->uc_mcontext.gregs[REG_RIP] += 2;
}
int catching(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    __asm__ volatile("movl $64, %%eax; .byte 0x8b, 0x00" ::: "eax");  /* mov eax, [rax] */
    return caught;
}

extern char **environ;
char *first_variable(void) { return environ ? environ[0] : 0; }

size_t layout(int what) {
    switch (what) {
    case 0: return offsetof(ucontext_t, uc_mcontext.gregs);
    case 1: return offsetof(ucontext_t, uc_mcontext.fpregs);
    case 2: return offsetof(ucontext_t, uc_sigmask);
    case 3: return sizeof(ucontext_t);
    case 4: return sizeof(siginfo_t);
    case 5: return sizeof(struct sigaction);
    case 6: return sizeof(struct stat);
    case 7: return offsetof(struct sigaction, sa_flags);
    case 8: return offsetof(struct stat, st_size);
    case 9: return offsetof(struct stat, st_mtim);
    default: return 0;
    }
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this host")
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "test.c").write_text(SOURCE)
    subprocess.run(
        [compiler, "-O2", "-fPIC", "-shared", "-fstack-protector-all", "-fcf-protection"]
        + ["-o", "test.so", "test.c"],
        cwd=folder,
        check=True,
    )
    return folder / "test.so"


def test_thread_local_variables_start_as_compiled_and_keep_their_values(c, library):
    image = c.platform.load(library)

    assert [image.call("count") for _ in range(3)] == [12, 14, 16]


def test_each_task_has_its_own_thread_local_variables(c, library):
    image = c.platform.load(library)
    image.call("count")
    tasks = c.platform.tasks
    main, other = tasks.current, tasks.create("other", c.platform.hooks)

    tasks.select(other)
    assert image.call("count") == 12
    tasks.select(main)
    assert image.call("count") == 14


def test_the_stack_protector_finds_its_canary_and_its_loss(c, library):
    image = c.platform.load(library)

    assert image.call("smash", 16) == 65
    with pytest.raises(GuestKilled, match="stack smashing detected"):
        image.call("smash", 25)


def test_compiled_code_uses_the_heap_and_strings(c, library):
    image = c.platform.load(library)

    joined = image.call("join", c.string(b"theseus"), c.string(b"-kit"))

    assert c.memory.read_string(joined) == b"theseus-kit"


def test_compiled_code_reads_errno(c, library):
    assert c.platform.load(library).call("failing") == 22


def test_environ_points_at_the_environment_or_at_nothing(c, library):
    with assemble(options={"tlibc": {"environment": "NAME=value"}}) as platform:
        variable = platform.load(library).call("first_variable")
        assert platform.machine.memory.read_string(variable) == b"NAME=value"

    with assemble(options={"tlibc": {"environment": ""}}) as platform:
        assert platform.load(library).call("first_variable") == 0


def test_a_compiled_handler_reads_and_edits_its_context(c, library):
    assert c.platform.load(library).call("catching") == 1


def test_structures_lie_as_the_hosts_headers_say(c, library):
    image = c.platform.load(library)

    assert [image.call("layout", n) for n in range(10)] == [
        *(40, 224, 296),
        *(968, 128, 152, 144),
        *(136, 48, 88),
    ]


@pytest.mark.skipif(not ZLIB.exists(), reason="no zlib of Debian's on this host")
class TestZlib:
    def test_checksums_are_those_of_pythons_zlib(self, c):
        image = c.platform.load(ZLIB)
        data = bytes(range(256)) * 500
        address = c.block(data)

        assert image.call("crc32", 0, address, len(data)) == zlib.crc32(data)
        assert image.call("adler32", 1, address, len(data)) == zlib.adler32(data)

    def test_what_the_guest_compresses_python_decompresses_and_the_reverse(self, c):
        image = c.platform.load(ZLIB)
        data = b"the quick brown fox " * 2000
        source, target = c.block(data), c.block(bytes(len(data)))
        size = c.block(len(data).to_bytes(8, "little"))

        assert image.call("compress", target, size, source, len(data)) == 0
        compressed = c.memory.read(target, c.memory.read_u64(size))
        assert zlib.decompress(compressed) == data

        packed = zlib.compress(data, 9)
        c.memory.write_u64(size, len(data))
        assert image.call("uncompress", target, size, c.block(packed), len(packed)) == 0
        assert c.memory.read(target, len(data)) == data

    def test_a_compressed_file_is_written_and_read_through_the_mounts(self, c, tmp_path):
        import gzip

        from theseus_kit.values.paths import Mount

        c.platform.hooks.path_mount(mount=Mount(tmp_path, "/data", writable=True))
        image = c.platform.load(ZLIB)
        name, buffer = c.string(b"/data/file.gz"), c.block(bytes(100))
        file = image.call("gzopen", name, c.string(b"wb"))
        assert image.call("gzwrite", file, c.block(b"written by the guest"), 20) == 20
        assert image.call("gzclose", file) == 0
        assert gzip.decompress((tmp_path / "file.gz").read_bytes()) == b"written by the guest"

        file = image.call("gzopen", name, c.string(b"rb"))
        assert image.call("gzread", file, buffer, 100) == 20
        assert c.memory.read(buffer, 20) == b"written by the guest"
