"""Look-ups of std's Path: through the mounts of the platform whose hooks they are given."""

import errno

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind
from theseus_kit_path import Path, PathBuf


@pytest.fixture
def hooks(files):
    """A tree in memory: a file, a directory, links to both and to nothing."""
    files.mount_memory("/m")
    files.write("/m/file", b"five!")
    files.make_directory("/m/dir")
    files.make_link("/m/to-file", "dir/../file")
    files.make_link("/m/to-dir", "/m/dir")
    files.make_link("/m/dangling", "none")
    return files.hooks


@pytest.mark.parametrize(
    ("text", "exists", "is_file", "is_dir", "is_symlink"),
    [
        ("/m/file", True, True, False, False),
        ("m/dir", True, False, True, False),
        ("/m/to-file", True, True, False, True),
        ("/m/to-dir", True, False, True, True),
        ("/m/dangling", False, False, False, True),
        ("/m/none", False, False, False, False),
        ("/m/file/below", False, False, False, False),
        ("/etc/passwd", False, False, False, False),
    ],
)
def test_a_path_tells_what_is_there(hooks, text, exists, is_file, is_dir, is_symlink):
    for path in (Path(text), PathBuf(text)):
        assert path.exists(hooks) == exists
        assert path.is_file(hooks) == is_file
        assert path.is_dir(hooks) == is_dir
        assert path.is_symlink(hooks) == is_symlink


def test_metadata_follows_links_and_symlink_metadata_does_not(hooks):
    link = Path("/m/to-file")
    assert (link.metadata(hooks).kind, link.metadata(hooks).size) == (FileKind.FILE, 5)
    assert link.symlink_metadata(hooks).kind is FileKind.SYMBOLIC_LINK


def test_canonical_paths_have_no_links_and_no_dots(hooks):
    assert str(Path("m/./to-file").canonicalize(hooks)) == "/m/file"
    assert Path("/m/to-file").read_link(hooks) == Path("dir/../file")
    with pytest.raises(PlatformError, check=lambda error: error.errno == errno.EINVAL):
        Path("/m/file").read_link(hooks)


def test_a_directory_that_is_read_gives_paths_below_it(hooks):
    entries = list(Path("/m").read_dir(hooks))
    assert [entry.file_name() for entry in entries] == [
        "dangling",
        "dir",
        "file",
        "to-dir",
        "to-file",
    ]
    dangling, directory, file, *_ = entries
    assert file.path() == Path("/m/file")
    assert file.metadata(hooks).size == 5
    assert directory.file_type() is FileKind.DIRECTORY
    assert dangling.metadata(hooks).kind is FileKind.SYMBOLIC_LINK
    with pytest.raises(PlatformError, check=lambda error: error.errno == errno.ENOTDIR):
        Path("/m/file").read_dir(hooks)


def test_whether_a_path_exists_is_an_error_only_where_it_cannot_be_told(hooks):
    assert Path("/m/file").try_exists(hooks)
    assert not Path("/m/none").try_exists(hooks)
    with pytest.raises(PlatformError, check=lambda error: error.errno == errno.ENOTDIR):
        Path("/m/file/below").try_exists(hooks)
