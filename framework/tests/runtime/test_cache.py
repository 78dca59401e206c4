"""The format of cached artifacts; reading and writing them is tested on a whole platform."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.runtime.cache import digest, seal, unseal


@given(st.text(), st.binary())
def test_what_was_sealed_is_unsealed(identity: str, payload: bytes) -> None:
    assert unseal(seal(identity, payload), identity) == payload


@given(st.binary(min_size=1), st.data())
def test_any_changed_byte_is_noticed(payload: bytes, data: st.DataObject) -> None:
    content = bytearray(seal("identity", payload))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    assert unseal(bytes(content), "identity") is None


@given(st.binary(), st.data())
def test_any_truncation_is_noticed(payload: bytes, data: st.DataObject) -> None:
    content = seal("identity", payload)
    kept = data.draw(st.integers(0, len(content) - 1))
    assert unseal(content[:kept], "identity") is None


@given(st.binary(), st.binary(min_size=1))
def test_anything_appended_is_noticed(payload: bytes, more: bytes) -> None:
    assert unseal(seal("identity", payload) + more, "identity") is None


@given(st.text(), st.text())
def test_another_identitys_file_is_none(first: str, second: str) -> None:
    assert (unseal(seal(first, b"payload"), second) is None) == (first != second)


@given(st.lists(st.binary()))
def test_the_digest_is_blake2b(parts: list[bytes]) -> None:
    assert digest(*parts) == hashlib.blake2b(b"".join(parts), digest_size=32).digest()
