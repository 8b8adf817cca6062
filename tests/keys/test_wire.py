"""Strict reading of base64 and RFC 4251: one value, one spelling."""

import pytest

from keys.core.errors import KeyProblem
from keys.core.wire import Reader, decoded, encoded, encoded_length, encoded_name
from tests.keys.samples import mpint, string, words


def code_of(error: pytest.ExceptionInfo[KeyProblem]) -> str:
    return error.value.code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "truncated"),
        ("A", "truncated"),
        ("AAA", "truncated"),
        ("AA=", "truncated"),
        ("====", "bad-padding"),
        ("AAAA=", "bad-padding"),
        ("AA===", "bad-padding"),
        ("AA==AA==", "bad-padding"),
        ("A=AA", "bad-padding"),
        ("AB==", "not-canonical"),
        ("AAF=", "not-canonical"),
        ("AA A", "bad-base64"),
        ("AA-_", "bad-base64"),
        ("AAAA\n", "bad-base64"),
        ("ÄAAA", "bad-base64"),
    ],
)
def test_base64_has_one_spelling(text: str, code: str) -> None:
    with pytest.raises(KeyProblem) as error:
        decoded(text)
    assert code_of(error) == code


@pytest.mark.parametrize("length", range(1, 10))
def test_what_is_encoded_is_decoded(length: int) -> None:
    assert decoded(encoded(bytes(range(length)))) == bytes(range(length))


@pytest.mark.parametrize(
    ("digits", "code"),
    [
        (b"", "not-canonical"),
        (b"\x00", "not-canonical"),
        (b"\x00\x01", "not-canonical"),
        (b"\x00\x00\x80", "not-canonical"),
        (b"\x80", "not-canonical"),
        (b"\xff\x01", "not-canonical"),
    ],
    ids=["zero", "zero as a byte", "needless zero", "two zeros", "negative", "negative and long"],
)
def test_a_positive_number_has_one_spelling(digits: bytes, code: str) -> None:
    with pytest.raises(KeyProblem) as error:
        Reader(string(digits)).positive()
    assert code_of(error) == code


@pytest.mark.parametrize("number", [1, 127, 128, 255, 256, 65537, 2**2047, 2**2048 - 1])
def test_a_positive_number_is_read(number: int) -> None:
    assert Reader(mpint(number)).positive() == number


@pytest.mark.parametrize("blob", [b"", b"\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xffab"])
def test_a_string_that_is_cut_off_is_truncated(blob: bytes) -> None:
    with pytest.raises(KeyProblem) as error:
        Reader(blob).string()
    assert code_of(error) == "truncated"


def test_nothing_may_follow_the_last_field() -> None:
    reader = Reader(string(b"a") + b"\0")
    assert reader.string() == b"a"
    with pytest.raises(KeyProblem) as error:
        reader.end()
    assert code_of(error) == "trailing-data"


@pytest.mark.parametrize(
    ("name", "fields"), [("ed25519", 2), ("rsa3072", 3), ("ecdsa521", 3), ("sk_ecdsa256", 4), ("dsa", 5)]
)
def test_a_blob_tells_its_own_length(name: str, fields: int) -> None:
    text = words(name)["base64"]
    assert encoded_length(text, fields) == len(text)
    assert encoded_length(text + "AAAA", fields) == len(text)
    assert encoded_length(text[:12], fields) is None
    assert encoded_length("", fields) is None
    assert encoded_length("*" * 100, fields) is None


@pytest.mark.parametrize("name", ["ed25519", "rsa3072", "sk_ecdsa256"])
def test_a_blob_tells_its_own_name(name: str) -> None:
    assert encoded_name(words(name)["base64"]) == words(name)["type"]
    assert encoded_name(words(name)["base64"][:12]) is None
    assert encoded_name("////////////") is None
