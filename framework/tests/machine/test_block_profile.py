"""The file of blocks: what is written is read, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.machine.emulated.block_profile import (
    BlockProfile,
    Identity,
    identity_of,
    read_profile,
    write_profile,
)

PROFILE = BlockProfile(Identity(1, 2, 3, 4), 5 << 12, 6 << 12, 7 << 12, "/lib/ü", (0x6FFF, 0, 9))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write_profile(tmp_path / "blocks", PROFILE)
    assert read_profile(tmp_path / "blocks") == PROFILE
    assert [path.name for path in tmp_path.iterdir()] == ["blocks"]


def test_there_is_no_profile_in_a_missing_file_or_a_directory(tmp_path: Path) -> None:
    assert read_profile(tmp_path / "blocks") is None
    assert read_profile(tmp_path) is None


def test_a_profile_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    assert not write_profile(tmp_path / "missing" / "blocks", PROFILE)


@given(st.data())
def test_a_damaged_file_is_as_good_as_none(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.blocks"
    assert write_profile(path, PROFILE)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= data.draw(st.integers(1, 255))
    else:
        del content[position:]
    path.write_bytes(content)
    assert read_profile(path) is None


def test_only_a_regular_file_has_an_identity(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        identity = identity_of(file.fileno())
    assert identity is not None
    assert identity.size == 7
    with Path("/dev/null").open("rb") as device:
        assert identity_of(device.fileno()) is None
