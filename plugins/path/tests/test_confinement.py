"""Attacks: every way out of the mounts that is known for file namespaces, tried."""

import errno
import os
import socket
import stat
import threading
from contextlib import contextmanager, suppress

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, OpenMode, StatusChange

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE


def refused(number):
    return pytest.raises(PlatformError, check=lambda error: error.errno == number)


@pytest.fixture
def data(files, inside):
    """``inside`` mounted for writing at /data; ``secret`` lies beside it on the host."""
    files.mount(inside, "/data", writable=True)
    return inside


@pytest.mark.parametrize(
    "path",
    [
        "/data/../secret",
        "/data/../../../../../../../../etc/passwd",
        "../../../../../../etc/passwd",
        "/../etc/passwd",
        "/data/sub/../../secret",
        "/data//..//..//etc/passwd",
        "/etc/passwd",
    ],
)
def test_dots_end_at_the_root(files, data, path):
    (data / "sub").mkdir()
    with refused(errno.ENOENT):
        files.read(path)


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/etc", "passwd"),
        ("..", "secret"),
        ("../../../../../../../etc", "passwd"),
        ("/proc/self/root/etc", "passwd"),
    ],
)
def test_a_link_out_of_the_mount_is_walked_in_the_namespace(files, data, directory, name):
    (data / "link").symlink_to(f"{directory}/{name}")
    (data / "directory").symlink_to(directory)
    with refused(errno.ENOENT):
        files.read("/data/link")
    with refused(errno.ENOENT):
        files.read(f"/data/directory/{name}")


def test_a_link_by_the_hosts_own_path_leads_nowhere(files, data, tmp_path):
    (data / "link").symlink_to(tmp_path / "secret")
    with refused(errno.ENOENT):
        files.read("/data/link")


@pytest.mark.parametrize("link", ["/data/link", "/data/link/", "/data/directory/new"])
def test_nothing_is_created_outside_through_a_link(files, data, tmp_path, link):
    (data / "link").symlink_to(tmp_path / "created")
    (data / "directory").symlink_to(tmp_path)
    for attempt in (
        lambda: files.write(link, b"x"),
        lambda: files.make_directory(link),
        lambda: files.rename("/data/directory", "/data/directory/moved"),
    ):
        with pytest.raises(PlatformError):
            attempt()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["inside", "secret"]


def test_removing_and_renaming_act_on_links_not_on_what_they_name(files, data, tmp_path):
    (data / "link").symlink_to(tmp_path / "secret")
    files.rename("/data/link", "/data/moved")
    files.remove("/data/moved")
    assert (tmp_path / "secret").read_text() == "secret"


def test_the_descriptors_of_proc_lead_nowhere_even_where_proc_is_mounted(files, inside, tmp_path):
    files.mount("/proc/self", "/proc/self")
    with (tmp_path / "secret").open() as secret:
        descriptor = secret.fileno()
        link = f"/proc/self/fd/{descriptor}"
        assert files.status(link, follow=False).kind is FileKind.SYMBOLIC_LINK
        with refused(errno.ENOENT):
            files.read(link)
        with refused(errno.ENOENT):
            files.read("/proc/self/cwd/pyproject.toml")
        with refused(errno.ENOENT):
            files.names("/proc/self/root/etc")


def test_a_mounted_file_replaced_by_a_link_is_not_followed(files, inside, tmp_path):
    (inside / "note").write_bytes(b"note")
    files.mount(inside / "note", "/note", writable=True)
    (inside / "note").unlink()
    (inside / "note").symlink_to(tmp_path / "secret")
    for attempt in (files.read, files.status, files.resolve):
        with refused(errno.ELOOP):
            attempt("/note")
    with refused(errno.ELOOP):
        files.write("/note", b"overwritten")
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_mounted_file_replaced_by_a_directory_does_not_open_it(files, inside):
    (inside / "note").write_bytes(b"note")
    files.mount(inside / "note", "/note")
    (inside / "note").unlink()
    (inside / "note").mkdir()
    (inside / "note" / "below").write_bytes(b"")
    with refused(errno.ENOTDIR):
        files.read("/note/below")
    with refused(errno.EACCES):
        files.open("/note")


def test_replacing_a_mounted_directory_by_a_link_changes_nothing(files, inside, tmp_path):
    (inside / "note").write_bytes(b"note")
    files.mount(inside, "/data")
    inside.rename(tmp_path / "moved")
    inside.symlink_to("/etc")
    assert files.read("/data/note") == b"note"
    assert files.names("/data") == ["note"]


def test_a_link_on_the_way_to_a_deeper_mount_does_not_show_through(files, data, tmp_path):
    (tmp_path / "more").mkdir()
    (data / "way").symlink_to(tmp_path)
    files.mount(tmp_path / "more", "/data/way/more")
    assert files.names("/data/way") == ["more"]
    with refused(errno.ENOENT):
        files.read("/data/way/secret")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_opening_what_is_no_file_is_refused_and_does_not_block(files, data, kind):
    path = data / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            directory = os.open(data, os.O_RDONLY)
            made.bind(f"/proc/self/fd/{directory}/socket")
            os.close(directory)
    else:
        files.mount("/dev", "/dev", writable=True)
    where = "/dev/null" if kind == "device" else f"/data/{kind}"
    expected = {
        "fifo": FileKind.PIPE,
        "socket": FileKind.SOCKET,
        "device": FileKind.CHARACTER_DEVICE,
    }
    assert files.status(where).kind is expected[kind]
    for mode in (READ, WRITE, READ | WRITE | CREATE):
        with refused(errno.EACCES):
            files.open(where, mode)


@contextmanager
def racing(step):
    """Have another thread repeat a step on the host's files, over and over."""
    stop = threading.Event()

    def race():
        while not stop.is_set():
            step()

    racer = threading.Thread(target=race)
    racer.start()
    try:
        yield
    finally:
        stop.set()
        racer.join()


@pytest.mark.parametrize("mode", [READ, WRITE | CREATE])
def test_a_link_swapped_in_all_the_time_never_leads_out(files, data, tmp_path, mode):
    (data / "dir").mkdir()
    (data / "dir" / "secret").write_text("decoy")
    (data / "away").symlink_to(tmp_path)
    (data / "file").write_text("decoy")
    (data / "file-away").symlink_to(tmp_path / "secret")

    def swap():
        for one, other in (("dir", "away"), ("file", "file-away")):
            (data / one).rename(data / "swap")
            (data / other).rename(data / one)
            (data / "swap").rename(data / other)

    opened = 0
    with racing(swap):
        for attempt in range(1500):
            path = ("/data/dir/secret", "/data/file", "/data/dir/../dir/secret")[attempt % 3]
            try:
                file = files.open(path, mode, 0o600)
            except PlatformError:
                continue
            opened += 1
            if mode is READ:
                assert file.read() != b"secret"
            else:
                file.write(b"D")
            file.close()
    assert opened > 0
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_directory_moved_out_meanwhile_does_not_take_the_walk_along(files, data, tmp_path):
    # Where ".." is the host's, a walk that stands in b when b is moved climbs into tmp_path.
    (data / "a" / "b").mkdir(parents=True)

    def move():
        (data / "a" / "b").rename(tmp_path / "b")
        (tmp_path / "b").rename(data / "a" / "b")

    with racing(move):
        for _ in range(1500):
            with refused(errno.ENOENT):
                files.read("/data/a/b/../secret")


def outside(tmp_path):
    """What an attacker would have changed: names, contents and status beside the mount."""
    kept = {}
    for entry in sorted(tmp_path.iterdir()):
        if entry.name != "inside":
            status = entry.lstat()
            content = entry.read_bytes() if entry.is_file() else b""
            kept[entry.name] = (content, status.st_mode, status.st_mtime_ns, status.st_nlink)
    return kept


CHANGES = [
    lambda files, name: files.make_directory(f"/data/dir/{name}"),
    lambda files, name: files.make_link(f"/data/dir/{name}", "/etc/passwd"),
    lambda files, name: files.link("/data/own", f"/data/dir/{name}"),
    lambda files, name: files.link("/data/dir/secret", f"/data/{name}", follow=True),
    lambda files, name: files.rename("/data/dir/secret", f"/data/{name}"),
    lambda files, name: files.rename("/data/mine", f"/data/dir/{name}"),
    lambda files, name: files.remove("/data/dir/secret"),
    lambda files, name: files.remove("/data/dir/empty", directory=True),
    lambda files, name: files.change("/data/dir/secret", permissions=0o777, modified=1),
    lambda files, name: files.change("/data/file", permissions=0o777, modified=1),
    lambda files, name: files.change("/data/file", follow=False, permissions=0o777, modified=1),
    lambda files, name: files.open("/data/file", WRITE | OpenMode.TRUNCATE).close(),
    lambda files, name: files.open("/data/dir/secret", OpenMode.PATH).close(),
]


def test_changes_made_while_links_are_swapped_in_all_stay_inside(files, data, tmp_path):
    (tmp_path / "empty").mkdir()
    before = outside(tmp_path)
    (data / "dir").mkdir()
    (data / "away").symlink_to(tmp_path)
    (data / "file").write_text("decoy")
    (data / "file-away").symlink_to(tmp_path / "secret")
    (data / "own").write_text("own")

    def swap():
        for one, other in (("dir", "away"), ("file", "file-away")):
            (data / one).rename(data / "swap")
            (data / other).rename(data / one)
            (data / "swap").rename(data / other)

    made = 0
    with racing(swap):
        for attempt in range(2000):
            (data / "mine").touch()
            name = f"made-{attempt}"
            try:
                CHANGES[attempt % len(CHANGES)](files, name)
            except PlatformError:
                continue
            made += 1
    assert made > 0
    assert outside(tmp_path) == before


def test_two_guests_racing_through_paths_of_one_directory_stay_inside(files, data, tmp_path):
    before = outside(tmp_path)
    (data / "a" / "b").mkdir(parents=True)
    directory = files.open("/data/a/b", READ)

    def turn():
        for change in (
            lambda: files.rename("/data/a/b", "/data/b"),
            lambda: files.make_link("/data/a/b", "../../.."),
            lambda: files.remove("/data/a/b"),
            lambda: files.rename("/data/b", "/data/a/b"),
        ):
            with suppress(PlatformError):
                change()

    with racing(turn):
        for attempt in range(600):
            for path in ("../secret", "../../secret", "../b/../../secret", "../b/secret"):
                with pytest.raises(PlatformError):
                    files.read(files.at(directory, path))
            with suppress(PlatformError):
                files.write(files.at(directory, f"../b/made-{attempt}"), b"")
    assert outside(tmp_path) == before


def test_no_second_name_leads_from_a_read_only_mount_into_a_writable_one(files, data, tmp_path):
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "note").write_text("kept")
    files.mount(tmp_path / "shown", "/shown")
    files.mount(tmp_path / "secret", "/one")
    directory = files.open("/shown", READ)
    for source in ("/shown/note", files.at(directory, "note"), "/one"):
        for attempt in (files.link, files.rename):
            with pytest.raises(PlatformError) as refusal:
                attempt(source, "/data/stolen")
            assert refusal.value.errno in (errno.EXDEV, errno.EBUSY)
    assert files.names("/data") == []


def test_an_open_file_or_directory_of_a_read_only_mount_changes_nothing(files, inside):
    (inside / "note").write_text("kept")
    (inside / "sub").mkdir()
    files.mount(inside, "/data")
    directory = files.open("/data", READ)
    change = StatusChange(permissions=0o777, accessed=1, modified=1)
    status = (inside / "note").stat()
    for attempt in (
        lambda: files.open("/data/note").change(change),
        lambda: directory.change(change),
        lambda: files.change("/data/note", permissions=0o777),
        lambda: files.make_directory(files.at(directory, "new")),
        lambda: files.make_link(files.at(directory, "new"), "note"),
        lambda: files.link("/data/note", files.at(directory, "new")),
        lambda: files.remove(files.at(directory, "note")),
        lambda: files.remove(files.at(directory, "sub"), directory=True),
        lambda: files.open(files.at(directory, "note"), WRITE),
    ):
        with refused(errno.EROFS):
            attempt()
    assert (inside / "note").stat() == status
    assert files.names("/data") == ["note", "sub"]


def test_rights_of_the_host_user_are_never_lent(files, data):
    files.open("/data/f", WRITE | CREATE, 0o6755).close()
    files.make_directory("/data/d", 0o7777)
    files.change("/data/f", permissions=0o6755)
    files.change("/data/d", permissions=0o7777)
    files.open("/data/f", WRITE).change(StatusChange(permissions=0o4755))
    for name in ("f", "d"):
        assert stat.S_IMODE((data / name).stat().st_mode) & 0o7000 == 0


def test_links_of_a_tree_in_memory_are_walked_in_the_namespace_too(files, tmp_path):
    files.mount_memory("/m")
    for text in ("/etc/passwd", str(tmp_path / "secret"), "../../../../etc/passwd"):
        files.make_link("/m/l", text)
        with refused(errno.ENOENT):
            files.read("/m/l")
        with pytest.raises(PlatformError):
            files.write("/m/l", b"x")
        files.remove("/m/l")
    files.make_link("/m/l", "..")
    assert files.resolve("/m/l") == "/"
