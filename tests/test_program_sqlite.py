"""SQLite's own shell as a program: what it prints and the databases it leaves behind.

Its sources are not part of the repository: ``THESEUS_KIT_SQLITE`` names the directory they are in,
``sqlite3.c`` and ``shell.c``. Reading and writing at offsets, cutting, synchronising, journals that
come and go, and what is left when a disk is full are SQLite's daily work.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .wasm_programs import Kit, compiled_from, ordinary

_EMULATED = ("mman", "signal", "getpid", "process-clocks")
_FLAGS = (
    *("-w", "-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION", "-DSQLITE_NOHAVE_SYSTEM"),
    *("-DSQLITE_OMIT_POPEN",),
    *(f"-D_WASI_EMULATED_{name.upper().replace('-', '_')}" for name in _EMULATED),
    *(f"-lwasi-emulated-{name}" for name in _EMULATED),
)

SCRIPT = b"""
PRAGMA page_size=1024;
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, data BLOB);
CREATE INDEX by_name ON people(name);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
  INSERT INTO people SELECT i, 'name-' || (i*7919 % 20011), i / 7.0, zeroblob(i % 50) FROM n;
COMMIT;
SELECT count(*), sum(length(data)), max(name), round(avg(score), 6) FROM people;
BEGIN; DELETE FROM people WHERE id % 3 = 0; SELECT count(*) FROM people; ROLLBACK;
SELECT count(*) FROM people;
BEGIN; DELETE FROM people WHERE id % 3 = 0; COMMIT;
PRAGMA integrity_check;
PRAGMA journal_mode=TRUNCATE;
UPDATE people SET score = score + 1 WHERE id % 2 = 0;
PRAGMA journal_mode=PERSIST;
UPDATE people SET name = upper(name) WHERE id % 5 = 0;
PRAGMA journal_mode=MEMORY;
UPDATE people SET name = lower(name) WHERE id % 10 = 0;
SELECT name, printf('%.3f', score) FROM people ORDER BY name LIMIT 5;
PRAGMA journal_mode=DELETE;
VACUUM;
PRAGMA page_count;
ATTACH '/d/second.db' AS second;
CREATE TABLE second.copy AS SELECT * FROM main.people WHERE id < 100;
INSERT INTO second.copy SELECT * FROM main.people WHERE id BETWEEN 100 AND 200;
SELECT count(*) FROM second.copy;
PRAGMA second.integrity_check;
DETACH second;
CREATE TABLE people(x);
"""
CHECK = b"PRAGMA integrity_check; SELECT count(*), sum(score), min(name), max(name) FROM people;"
FILL = b"""
CREATE TABLE kept(x); INSERT INTO kept VALUES (zeroblob(50000));
BEGIN; INSERT INTO kept VALUES (zeroblob(500000)); COMMIT;
ROLLBACK;
SELECT count(*) FROM kept;
PRAGMA integrity_check;
"""


@pytest.fixture(scope="module")
def sqlite() -> Path:
    return compiled_from("THESEUS_KIT_SQLITE", "sqlite", ["sqlite3.c", "shell.c"], *_FLAGS)


@pytest.fixture(scope="module")
def kit(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(machine, tmp_path_factory.mktemp("cache"))


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_databases_on_disk_are_the_same_to_the_byte(kit: Kit, sqlite: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    done = kit("--dir", f"{here}::/d", sqlite, "/d/db", stdin=SCRIPT)
    assert done == ordinary(sqlite, "/d/db", directories=[(there, "/d")], stdin=SCRIPT)
    assert done.stdout.splitlines()[:4] == [
        *(b"20000|490000|name-9999|1428.642857", b"13334", b"20000", b"ok"),
    ]
    assert contents(here) == contents(there)
    assert sorted(contents(here)) == ["db", "second.db"]
    # Each reads what the other wrote.
    checked = kit("--dir", f"{there}::/d", sqlite, "/d/db", stdin=CHECK)
    assert checked.stdout.startswith(b"ok\n13334|")
    assert checked == ordinary(sqlite, "/d/db", directories=[(here, "/d")], stdin=CHECK)


def test_a_database_in_a_read_only_directory_is_refused_alike(
    kit: Kit, sqlite: Path, tmp_path: Path
) -> None:
    assert kit("--dir", f"{tmp_path}::/d", sqlite, "/d/db", stdin=FILL).stdout == b"2\nok\n"
    kept = contents(tmp_path)
    for option in ("-readonly", "-batch"):
        arguments = (sqlite, option, "/d/db")
        there = ordinary(*arguments, directories=[(tmp_path, "/d")], writable=False, stdin=FILL)
        assert kit("--dir-ro", f"{tmp_path}::/d", *arguments, stdin=FILL) == there
        assert there.status != 0
    assert contents(tmp_path) == kept


def test_a_database_in_memory_answers_like_one_on_disk(
    kit: Kit, sqlite: Path, tmp_path: Path
) -> None:
    done = kit("--memfs", "/d", sqlite, "/d/db", stdin=SCRIPT)
    assert done == ordinary(sqlite, "/d/db", directories=[(tmp_path, "/d")], stdin=SCRIPT)


def test_a_transaction_that_finds_no_room_leaves_the_database_as_it_was(
    kit: Kit, sqlite: Path
) -> None:
    done = kit("--memfs", "/d=300000", sqlite, "/d/db", stdin=FILL)
    assert b"full" in done.stderr
    assert done.stdout == b"1\nok\n"
