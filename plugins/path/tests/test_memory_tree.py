"""Trees in memory: their limit, their clock, and that they do as the host's own do."""

import errno
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import OpenMode
from theseus_kit_path import PathPlugin
from theseus_kit_path.memory_files import ENTRY_COST
from theseus_kit_path.provider import Options, Timestamps

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE
APPEND, TRUNCATE, EXCLUSIVE = OpenMode.APPEND, OpenMode.TRUNCATE, OpenMode.EXCLUSIVE
ROOM = ENTRY_COST + 1
"""What an empty file of a name of one letter takes."""


def refused(number):
    """The block is refused with this errno."""
    return pytest.raises(PlatformError, check=lambda error: error.errno == number)


def test_what_fits_the_limit_is_written_and_the_rest_is_refused(files):
    files.mount_memory("/m", limit=ROOM + 10)
    file = files.open("/m/f", READ | WRITE | CREATE)
    assert file.write(b"0123456") == 7
    assert file.write(b"789abc") == 3
    with refused(errno.ENOSPC):
        file.write(b"d")
    assert file.write(b"") == 0
    assert file.write_at(b"XY", 8) == 2
    assert file.read_at(99, 0) == b"01234567XY"


@pytest.mark.parametrize(
    "grow",
    [
        lambda files, file: file.truncate(11),
        lambda files, file: file.truncate(1 << 60),
        lambda files, file: file.allocate(0, 1 << 60),
        lambda files, file: file.write_at(b"x", 1 << 60),
        lambda files, file: files.make_directory("/m/d"),
        lambda files, file: files.make_link("/m/l", "f"),
        lambda files, file: files.link("/m/f", "/m/g"),
        lambda files, file: files.rename("/m/f", "/m/" + "f" * 12),
        lambda files, file: files.write("/m/g", b""),
    ],
)
def test_nothing_grows_beyond_the_limit(files, grow):
    files.mount_memory("/m", limit=ROOM + 10)
    file = files.open("/m/f", READ | WRITE | CREATE)
    with refused(errno.ENOSPC):
        grow(files, file)
    assert files.names("/m") == ["f"]
    assert file.write(b"0123456789") == 10


def test_a_link_whose_text_does_not_fit_takes_nothing(files):
    files.mount_memory("/m", limit=ROOM + 10)
    for _ in range(3):
        with refused(errno.ENOSPC):
            files.make_link("/m/l", "x" * 11)
    files.make_link("/m/l", "x" * 10)


def test_an_offset_beyond_what_any_file_has_is_too_big(files):
    files.mount_memory("/m")
    file = files.open("/m/f", WRITE | CREATE)
    with refused(errno.EFBIG):
        file.write_at(b"xy", (1 << 63) - 2)
    with refused(errno.EFBIG):
        file.allocate(1 << 62, 1 << 62)


def test_a_removed_file_gives_its_room_back_when_the_last_who_has_it_open_closes_it(files):
    files.mount_memory("/m", limit=ROOM + 10)
    file = files.open("/m/f", READ | WRITE | CREATE)
    file.write(b"0123456789")
    files.remove("/m/f")
    assert file.read_at(10, 0) == b"0123456789"
    with refused(errno.ENOSPC):
        files.write("/m/g", b"0123456789")
    files.remove("/m/g")
    file.close()
    assert files.write("/m/g", b"0123456789") == 10


def test_making_and_removing_never_wears_the_limit_out(files):
    files.mount_memory("/m", limit=4 * (ENTRY_COST + 20))
    for turn in range(200):
        files.make_directory("/m/d")
        files.write("/m/d/f", b"12345678")
        files.rename("/m/d/f", f"/m/other-name-{turn:03}")
        files.link(f"/m/other-name-{turn:03}", "/m/d/again")
        files.make_link("/m/l", "text")
        files.rename("/m/l", "/m/d/again")
        files.write(f"/m/other-name-{turn:03}", b"1", WRITE | TRUNCATE)
        files.remove("/m/d/again")
        files.remove("/m/d", directory=True)
        files.remove(f"/m/other-name-{turn:03}")
    assert files.names("/m") == []


def test_a_tree_ends_with_its_mount_but_its_open_files_do_not(files):
    files.mount_memory("/m")
    files.write("/m/f", b"content")
    file = files.open("/m/f")
    files.unmount("/m")
    assert file.read() == b"content"
    files.mount_memory("/m")
    assert files.names("/m") == []


def test_trees_are_devices_of_their_own(files):
    files.mount_memory("/a")
    files.mount_memory("/b")
    assert files.status("/a").device != files.status("/b").device
    files.write("/a/f", b"")
    with refused(errno.EXDEV):
        files.rename("/a/f", "/b/f")


def test_counted_times_are_the_same_in_every_run(provide):
    def run():
        files = provide(PathPlugin, Options(timestamps=Timestamps.COUNTED))
        files.mount_memory("/m")
        files.write("/m/f", b"x")
        files.make_directory("/m/d")
        files.rename("/m/f", "/m/d/f")
        return [files.status(path) for path in ("/m", "/m/d", "/m/d/f")]

    first = run()
    assert first == run()
    assert len({status.modified for status in first}) > 1


def test_writing_marks_the_time_and_reading_does_not(provide):
    files = provide(PathPlugin, Options(timestamps=Timestamps.COUNTED))
    files.mount_memory("/m")
    files.write("/m/f", b"x")
    before = files.status("/m/f")
    files.read("/m/f")
    assert files.status("/m/f") == before
    files.write("/m/f", b"y", WRITE)
    assert files.status("/m/f").modified > before.modified


def test_a_directory_of_a_hundred_thousand_entries_is_listed(files):
    files.mount_memory("/m", limit=64 << 20)
    directory = files.open("/m", READ)
    for number in range(100_000):
        files.open(files.at(directory, f"{number:06}"), WRITE | CREATE).close()
    names = [entry.name for entry in directory.entries()]
    assert names == [f"{number:06}" for number in range(100_000)]


def raced(*steps, turns=400):
    """Run each step in a thread of its own, over and over; what is refused is no failure."""
    problems = []

    def run(step):
        for turn in range(turns):
            try:
                step(turn)
            except PlatformError as error:
                if error.errno not in (
                    errno.ENOENT,
                    errno.EEXIST,
                    errno.ENOTEMPTY,
                    errno.EINVAL,
                    errno.ENOTDIR,
                    errno.EISDIR,
                ):
                    problems.append(error)

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_racing_renames_links_and_removals_lose_nothing_and_leak_nothing(files):
    limit = 20 * ENTRY_COST
    files.mount_memory("/m", limit=limit)
    for directory in ("/m/a", "/m/b"):
        files.make_directory(directory)
    files.write("/m/a/f", b"content")
    raced(
        lambda turn: files.rename("/m/a/f", "/m/b/f"),
        lambda turn: files.rename("/m/b/f", "/m/a/f"),
        lambda turn: files.link("/m/a/f", "/m/b/g"),
        lambda turn: files.remove("/m/b/g"),
        lambda turn: files.make_directory("/m/a/d"),
        lambda turn: files.remove("/m/a/d", directory=True),
        lambda turn: files.rename("/m/a/d", "/m/b/d"),
        lambda turn: files.remove("/m/b/d", directory=True),
    )
    found = [path for path in ("/m/a/f", "/m/b/f") if path[5:] in files.names(path[:4])]
    assert len(found) == 1
    assert files.read(found[0]) == b"content"
    left = [f"{top}/{name}" for top in ("/m/a", "/m/b") for name in files.names(top)]
    assert files.status(found[0]).links == sum(not path.endswith("/d") for path in left)
    for path in left:
        files.remove(path, directory=path.endswith("/d"))
    for directory in ("/m/a", "/m/b"):
        assert files.status(directory).links == 2
        files.remove(directory, directory=True)
    assert files.write("/m/f", bytes(limit)) == limit - ROOM


def test_two_directories_moved_into_each_other_never_form_a_ring(files):
    files.mount_memory("/m")
    files.make_directory("/m/a")
    files.make_directory("/m/b")
    raced(
        lambda turn: files.rename("/m/a", "/m/b/a"),
        lambda turn: files.rename("/m/b", "/m/a/b"),
        lambda turn: files.rename("/m/b/a", "/m/a"),
        lambda turn: files.rename("/m/a/b", "/m/b"),
    )
    reached = set()
    pending = ["/m"]
    while pending:
        path = pending.pop()
        for name in files.names(path):
            reached.add(name)
            pending.append(f"{path}/{name}")
    assert reached == {"a", "b"}


def test_racing_appends_are_all_there(files):
    files.mount_memory("/m", limit=1 << 20)
    files.write("/m/log", b"")

    def appending(mark):
        file = files.open("/m/log", WRITE | APPEND)
        return lambda turn: file.write(mark * 7)

    raced(*(appending(mark) for mark in (b"a", b"b", b"c")))
    content = files.read("/m/log")
    lines = [content[start : start + 7] for start in range(0, len(content), 7)]
    assert sorted(lines) == sorted([b"a" * 7, b"b" * 7, b"c" * 7] * 400)


@pytest.mark.parametrize("times", [(1, 2), (-5_000_000_000 + 3, -1), (1 << 62, 999_999_999)])
def test_times_are_kept_to_the_nanosecond(files, times):
    files.mount_memory("/m")
    files.write("/m/f", b"")
    files.change("/m/f", accessed=times[0], modified=times[1])
    status = files.status("/m/f")
    assert (status.accessed, status.modified) == times


@pytest.mark.parametrize("follow", [False, True])
def test_times_of_a_host_file_are_those_that_the_host_keeps(files, inside, follow):
    files.mount(inside, "/d", writable=True)
    files.write("/d/f", b"")
    files.change("/d/f", follow=follow, accessed=1_234_567_891, modified=2_345_678_912)
    status, kept = files.status("/d/f"), (inside / "f").stat()
    assert (status.accessed, status.modified) == (kept.st_atime_ns, kept.st_mtime_ns)
    assert 1_345_678_912 < kept.st_mtime_ns <= 2_345_678_912


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/b", ".", "a/.", "b/..", "a/", "b/"])
MODES = st.sampled_from(
    [
        READ,
        READ | APPEND,
        WRITE,
        WRITE | CREATE,
        READ | WRITE | CREATE | EXCLUSIVE,
        WRITE | CREATE | TRUNCATE,
        WRITE | CREATE | APPEND,
        READ | OpenMode.DIRECTORY,
        READ | OpenMode.NO_FOLLOW,
        OpenMode.PATH,
        OpenMode.PATH | OpenMode.NO_FOLLOW,
    ]
)
TEXTS = st.sampled_from(["a", "b", "../a", "a/b", ".", "..", "/d/b", "none", "a/"])
STEPS = st.one_of(
    st.tuples(st.just("open"), NAMES, MODES),
    st.tuples(st.just("make_directory"), NAMES),
    st.tuples(st.just("make_link"), NAMES, TEXTS),
    st.tuples(st.just("link"), NAMES, NAMES, st.booleans()),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("remove"), NAMES, st.booleans()),
    st.tuples(st.just("look"), NAMES, st.booleans()),
    st.tuples(st.just("names"), NAMES),
    st.tuples(st.just("read_link"), NAMES),
)
WORDS = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=5)),
    st.tuples(st.just("read"), st.integers(-1, 6)),
    st.tuples(st.just("write_at"), st.binary(max_size=5), st.integers(-1, 9)),
    st.tuples(st.just("read_at"), st.integers(0, 6), st.integers(-1, 9)),
    # Not SEEK_DATA and SEEK_HOLE: what is a hole is a file system's own affair (lseek(2)).
    st.tuples(st.just("seek"), st.integers(-4, 9), st.integers(0, 2)),
    st.tuples(st.just("truncate"), st.integers(-1, 9)),
    st.tuples(st.just("allocate"), st.integers(-1, 5), st.integers(-1, 6)),
    st.tuples(st.just("set_append"), st.booleans()),
    st.tuples(st.just("entries")),
)


def answer(files, word, *arguments):
    """What a step answers: its result, or its errno."""
    try:
        if word == "open":
            file = files.open("/d/" + arguments[0], arguments[1])
            seen = (file.status().kind, file.mode)
            if WRITE in arguments[1]:
                seen += (file.write(b"xyz"), file.seek(0, os.SEEK_CUR))
            file.close()
            return seen
        if word == "look":
            status = files.status("/d/" + arguments[0], arguments[1])
            size = None if status.kind.name == "DIRECTORY" else status.size
            links = None if status.kind.name == "DIRECTORY" else status.links
            where = files.resolve("/d/" + arguments[0], arguments[1])
            return (status.kind, size, links, where)
        if word in ("link", "rename"):
            arguments = ("/d/" + arguments[0], "/d/" + arguments[1], *arguments[2:])
        else:
            arguments = ("/d/" + arguments[0], *arguments[1:])
        return getattr(files, word)(*arguments)
    except PlatformError as error:
        if word == "rename" and error.errno == errno.EEXIST:  # rename(2): either
            return "ENOTEMPTY"
        return errno.errorcode[error.errno]


def tree_of(files, path="/d"):
    tree = {}
    for entry in files.list(path):
        below = f"{path}/{entry.name}"
        if entry.kind.name == "DIRECTORY":
            tree[entry.name] = tree_of(files, below)
        elif entry.kind.name == "FILE":
            tree[entry.name] = files.read(below)
        else:
            tree[entry.name] = files.read_link(below)
    return tree


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(st.lists(STEPS, max_size=14))
def test_a_tree_in_memory_answers_as_the_hosts_does(provide, tmp_path_factory, steps):
    host, memory = provide(PathPlugin), provide(PathPlugin)
    host.mount(tmp_path_factory.mktemp("tree"), "/d", writable=True)
    memory.mount_memory("/d")
    for step in steps:
        assert (step, answer(memory, *step)) == (step, answer(host, *step))
    assert tree_of(memory) == tree_of(host)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(st.sampled_from([READ, WRITE, READ | WRITE, READ | WRITE | APPEND]), st.lists(WORDS))
def test_an_open_file_in_memory_answers_as_one_of_the_hosts(provide, tmp_path, mode, words):
    host, memory = provide(PathPlugin), provide(PathPlugin)
    host.mount(tmp_path, "/d", writable=True)
    memory.mount_memory("/d")
    if WRITE in mode and mode != READ | WRITE:
        # Where a file system allocates nothing itself, the host's C library reads what is there.
        words = [word for word in words if word[0] != "allocate"]
    answers = []
    for files in (host, memory):
        files.write("/d/f", b"start")
        file = files.open("/d/f", mode)
        said = []
        for word, *arguments in words:
            try:
                said.append((word, getattr(file, word)(*arguments)))
            except PlatformError as error:
                said.append((word, errno.errorcode[error.errno]))
        said.append(file.status().size)
        file.close()
        answers.append((said, files.read("/d/f")))
    assert answers[1] == answers[0]
