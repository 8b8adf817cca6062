import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.core.errors import NotSafe
from hosts.core.tree import is_visible, is_writable, resolve


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (b"", ()),
        (b"/", ()),
        (b".", ()),
        (b"/../../etc/passwd", ("etc", "passwd")),
        (b"upload/../../..", ()),
        (b"//upload///a/./b/", ("upload", "a", "b")),
        (b"/upload-processed/../upload/x", ("upload", "x")),
        (b"/upload/..hidden", ("upload", "..hidden")),
        (b"/upload/%2e%2e", ("upload", "%2e%2e")),
        (b"/upload/..\\..", ("upload", "..\\..")),
        (b"/upload/\xff", ("upload", "\udcff")),
    ],
)
def test_a_path_stays_below_the_root(path: bytes, parts: tuple[str, ...]) -> None:
    assert resolve(path) == parts


@pytest.mark.parametrize("path", [b"/upload/a\0b", b"/upload/" + b"n" * 256, b"/d" * 33])
def test_a_path_that_cannot_be_ours_is_refused(path: bytes) -> None:
    with pytest.raises(NotSafe):
        resolve(path)


@given(st.lists(st.sampled_from([b"..", b".", b"", b"upload", b"x", b"downloads"]), max_size=20))
def test_no_part_ever_leads_up(pieces: list[bytes]) -> None:
    parts = resolve(b"/".join(pieces))
    assert not {"", ".", ".."} & set(parts)
    assert is_writable(parts) == (parts[:1] == ("upload",) and len(parts) > 1)


@pytest.mark.parametrize("path", [b"/keys", b"/homes", b"/Upload/x", b"/upload2", b"/.ssh/authorized_keys"])
def test_only_the_three_places_are_visible(path: bytes) -> None:
    assert not is_visible(resolve(path))


@pytest.mark.parametrize(
    "path", [b"/", b"/upload", b"/upload/", b"/upload/x/..", b"/downloads/x", b"/upload-processed/x"]
)
def test_only_what_lies_below_upload_can_be_changed(path: bytes) -> None:
    assert is_visible(resolve(path))
    assert not is_writable(resolve(path))
