"""Primitives against published vectors, and what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import PeerError, SecurityError
from telemetry.protocol.primitives import Aead, Ephemeral, KeyPair, Secret, hkdf, mac, noise_hkdf, same, sha256

h = bytes.fromhex

LOW_ORDER = (
    # D. J. Bernstein, cr.yp.to/ecdh.html, "do I need to validate public keys": order 1, 2, 4, 8 and their aliases.
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def test_x25519_is_that_of_rfc_7748_section_6_1() -> None:
    alice = KeyPair(Secret(h("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")))
    bob = KeyPair(Secret(h("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")))
    assert alice.public == h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert bob.public == h("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = h("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.exchange(bob.public) == bob.exchange(alice.public) == shared


def test_hkdf_is_that_of_rfc_5869_case_3() -> None:
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(Secret(b"\x0b" * 22), "", 42).reveal() == h(expected)


def test_hmac_is_that_of_rfc_4231_case_2() -> None:
    expected = h("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert mac(Secret(b"Jefe"), b"what do ya want for nothing?") == expected
    assert mac(Secret(b"Jefe"), b"what do ya want for nothing?", 16) == expected[:16]


def test_sha256_is_that_of_fips_180_4() -> None:
    assert sha256(b"abc") == h("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_chacha20_poly1305_is_that_of_rfc_8439_appendix_a_5() -> None:
    # The nonce of A.5 is 00000000 0102030405060708: Noise's layout with the counter below.
    aead = Aead(Secret(h("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")))
    text = (
        "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or "
        "obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference material "
        "or to cite them other than as /\u201cwork in progress./\u201d"
    ).encode()
    sealed = aead.seal(0x0807060504030201, text, h("f33388860000000000004e91"))
    assert sealed[:16] == h("64a0861575861af460f062c79be643bd")
    assert sealed[-16:] == h("eead9d67890cbb22392336fea1851f38")
    assert aead.open(0x0807060504030201, sealed, h("f33388860000000000004e91")) == text


def test_noise_hkdf_is_hkdf_without_info() -> None:
    first, second, third = noise_hkdf(bytes(32), b"\x0b" * 22, 3)
    assert (first + second)[:42].hex().startswith("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
    assert noise_hkdf(bytes(32), b"\x0b" * 22, 2) == [first, second]
    assert len(third) == 32


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_point_is_refused(point: str) -> None:
    with pytest.raises(PeerError, match="low-order"):
        KeyPair(Secret(b"\x11" * 32)).exchange(h(point))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(PeerError, match=f"{size} bytes"):
        KeyPair(Secret(b"\x11" * 32)).exchange(bytes(size))
    with pytest.raises(SecurityError, match=f"{size} bytes"):
        KeyPair(Secret(bytes(size)))


def test_an_ephemeral_is_spent_once() -> None:
    key = Ephemeral(Secret(b"\x11" * 32))
    key.spend()
    with pytest.raises(SecurityError, match="already used"):
        key.spend()


@given(st.binary(max_size=64), st.integers(0, 2**64 - 1), st.integers(0, 8 * 80))
def test_a_sealed_text_opens_as_it_was_and_not_otherwise(text: bytes, counter: int, flip: int) -> None:
    aead = Aead(Secret(b"\x22" * 32))
    sealed = aead.seal(counter, text)
    assert len(sealed) == len(text) + 16
    assert aead.open(counter, sealed) == text
    assert aead.open(counter ^ 1, sealed) is None
    assert aead.open(counter, sealed, b"x") is None
    assert aead.open(counter, sealed[:-1]) is None
    bent = bytearray(sealed)
    bent[flip // 8 % len(bent)] ^= 1 << flip % 8
    assert aead.open(counter, bytes(bent)) is None


def test_opening_less_than_a_tag_is_a_wrong_tag() -> None:
    assert Aead(Secret(b"\x22" * 32)).open(0, b"short") is None


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(b"very secret bytes")
    for text in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert "very" not in text
        assert "17 bytes" in text
    assert KeyPair(Secret(b"\x11" * 32)).public.hex() in repr(KeyPair(Secret(b"\x11" * 32)))
    assert (b"\x11" * 4).hex() not in repr(KeyPair(Secret(b"\x11" * 32)))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SecurityError, match="not pickled"):
            attempt(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_secrets_compare_by_value() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert same(b"ab", b"ab")
    assert not same(b"ab", b"abc")
