"""Libraries of the host, unmodified, as guests: they are skipped where they are not installed."""

import hashlib
import zlib
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

from .conftest import in_the_guest, programs_of

FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")
WORD = (1 << 64) - 1
SQLITE_ROW = 100


def installed(name):
    found = next((Path(f, name) for f in FOLDERS if Path(f, name).exists()), None)
    return found or pytest.skip(f"{name} is not installed")


@pytest.fixture(params=machine_names())
def guest(request):
    with assemble(machine=request.param) as platform:
        yield Guest(platform)


class Guest:
    def __init__(self, platform):
        self.platform = platform
        self.memory = platform.machine.memory

    def load(self, name):
        return self.platform.load(installed(name))

    def c(self, name, *arguments):
        return self.platform.machine.call(self.platform.namespace.resolve(name), arguments)

    def block(self, data):
        address = self.c("malloc", len(data) or 1)
        self.memory.write(address, data)
        return address

    def string(self, text):
        return self.block(text + b"\0")


class Database:
    def __init__(self, guest):
        self.guest, self.sqlite = guest, guest.load("libsqlite3.so.0")
        self.cell = guest.block(bytes(8))
        assert self.sqlite.call("sqlite3_open", guest.string(b":memory:"), self.cell) == 0
        self.handle = guest.memory.read_u64(self.cell)

    def query(self, sql):
        call, memory = self.sqlite.call, self.guest.memory
        text = self.guest.string(sql)
        failed = call("sqlite3_prepare_v2", self.handle, text, WORD, self.cell, 0)
        assert not failed & 0xFFFFFFFF, memory.read_string(call("sqlite3_errmsg", self.handle))
        statement = memory.read_u64(self.cell)
        rows = []
        while call("sqlite3_step", statement) & 0xFFFFFFFF == SQLITE_ROW:
            count = call("sqlite3_column_count", statement) & 0xFFFFFFFF
            texts = (call("sqlite3_column_text", statement, at) for at in range(count))
            rows.append(tuple(memory.read_string(text) if text else None for text in texts))
        assert call("sqlite3_finalize", statement) & 0xFFFFFFFF == 0
        return rows


def test_sqlite_keeps_a_database_in_memory(guest):
    database = Database(guest)
    database.query(b"create table t(a integer primary key, b text, c real)")
    database.query(b"insert into t(b, c) values('one', 2.25), ('two', 6.25), ('three', 9)")

    assert database.query(b"select a, upper(b), sqrt(c) from t order by b") == [
        (b"1", b"ONE", b"1.5"),
        (b"3", b"THREE", b"3.0"),
        (b"2", b"TWO", b"2.5"),
    ]
    assert database.query(b"select group_concat(b), total(c), printf('%08.3f', avg(c)) from t") == [
        (b"one,two,three", b"17.5", b"0005.833")
    ]


def test_sqlite_tells_dates(guest):
    moment = b"strftime('%Y-%m-%d %H:%M:%S', 1700000000, 'unixepoch', 'localtime')"

    assert Database(guest).query(b"select " + moment) == [(b"2023-11-14 22:13:20",)]


def test_zlib_takes_back_what_it_packed(guest):
    image = guest.load("libz.so.1")
    data = b"the quick brown fox " * 2000
    source, target = guest.block(data), guest.block(bytes(len(data)))
    size = guest.block(len(data).to_bytes(8, "little"))

    assert image.call("compress2", target, size, source, len(data), 9) == 0
    packed = guest.memory.read(target, guest.memory.read_u64(size))
    assert zlib.decompress(packed) == data


@pytest.mark.parametrize("workers", [0, 2])
def test_zstd_takes_back_what_it_packed_with_threads_or_without(guest, workers):
    image = guest.load("libzstd.so.1")
    data = b"".join(hashlib.sha256(bytes((n % 251,))).digest() * 4 for n in range(8000))
    source, room = guest.block(data), len(data) + 4096
    packed, back = guest.block(bytes(room)), guest.block(bytes(len(data)))
    context = image.call("ZSTD_createCCtx")
    parameter_workers, parameter_job = 400, 401
    assert image.call("ZSTD_CCtx_setParameter", context, parameter_workers, workers) == workers
    if workers:
        image.call("ZSTD_CCtx_setParameter", context, parameter_job, 1 << 19)

    size = image.call("ZSTD_compress2", context, packed, room, source, len(data))
    image.call("ZSTD_freeCCtx", context)

    assert size < len(data) // 4
    assert image.call("ZSTD_decompress", back, len(data), packed, size) == len(data)
    assert guest.memory.read(back, len(data)) == data


def test_expat_calls_back_for_each_element(guest):
    image = guest.load("libexpat.so.1")
    seen = []
    memory = guest.memory
    start = guest.platform.machine.export(
        lambda data, name, attributes: seen.append(memory.read_string(name)), 3, reenters=True
    )
    parser = image.call("XML_ParserCreate", 0)
    image.call("XML_SetElementHandler", parser, start, 0)
    text = b"<a x='1'><b/>text &amp; more<c>\xc3\xa9</c></a>"

    assert image.call("XML_Parse", parser, guest.block(text), len(text), 1) == 1
    assert seen == [b"a", b"b", b"c"]


def test_pcre2_matches_an_expression(guest):
    image = guest.load("libpcre2-8.so.0")
    pattern, text = b"(\\w+)@(\\w+)\\.org", b"mail to someone@example.org today"
    error = guest.block(bytes(16))
    code = image.call("pcre2_compile_8", guest.block(pattern), len(pattern), 0, error, error + 8, 0)
    data = image.call("pcre2_match_data_create_from_pattern_8", code, 0)

    found = image.call("pcre2_match_8", code, guest.block(text), len(text), 0, 0, data, 0)
    bounds = image.call("pcre2_get_ovector_pointer_8", data)

    assert found == 3
    offsets = _words(guest.memory, bounds, 6)
    assert text[offsets[2] : offsets[3]] == b"someone"
    assert text[offsets[4] : offsets[5]] == b"example"


def _words(memory, address, count):
    return [memory.read_u64(address + 8 * n) for n in range(count)]


def test_libcrypto_hashes_as_python_does(guest):
    image = guest.load("libcrypto.so.3")
    data, digest = b"theseus" * 1000, guest.block(bytes(32))

    image.call("SHA256", guest.block(data), len(data), digest)

    assert guest.memory.read(digest, 32) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("name", programs_of("iostream_program.cpp"))
def test_a_program_in_cpp_sees_what_it_sees_on_the_host(guest, compiled, on_the_host, name):
    image = compiled("iostream_program.cpp")
    number = programs_of("iostream_program.cpp").index(name)
    for library in ("libgcc_s.so.1", "libstdc++.so.6"):
        guest.load(library)

    seen = in_the_guest(guest.platform, image, number)

    assert seen.decode().splitlines() == on_the_host(image, number).decode().splitlines()
