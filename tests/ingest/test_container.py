"""Zips, honest and hostile."""

import io
import struct
import warnings
import zipfile
import zlib

import pytest

from ingest.core.container import CONTENTS_BYTES, ArchiveLimits, read_archive
from ingest.core.errors import ArchiveError
from tests.ingest.epochs import oneroster, oneroster_zip

LIMITS = ArchiveLimits(members=20, member_bytes=4 << 20, total_bytes=6 << 20, ratio=100)


def packed(*members, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content) pairs."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # names that stand twice
        for name, content in members:
            archive.writestr(name, content, method)
    return out.getvalue()


def entry(name, mode=0, flags=0):
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = mode << 16
    info.create_system = 3
    info.flag_bits = flags
    return info


def judged(content, limits=LIMITS):
    return read_archive(io.BytesIO(content), "data.zip", limits)


def codes(content, limits=LIMITS):
    archive = judged(content, limits)
    assert archive.ok == (not [one for one in archive.findings if one.severity == "error"])
    return {one.code for one in archive.findings if one.severity == "error"}


def test_a_good_zip_gives_the_files_as_they_were():
    archive = judged(oneroster_zip(100)["roster.zip"])
    assert archive.findings == ()
    assert {member.name: archive.open(member.name).read() for member in archive.members} == oneroster(100)


def test_two_members_can_be_read_side_by_side():
    archive = judged(packed(("a.csv", b"a" * 100_000), ("b.csv", b"b" * 100_000)))
    one, two = archive.open("a.csv"), archive.open("b.csv")
    assert (one.read(10), two.read(10), one.read(10)) == (b"a" * 10, b"b" * 10, b"a" * 10)


HOSTILE = {
    "upwards": (packed((entry("../x.csv"), b"a")), "zip-slip"),
    "upwards in the middle": (packed((entry("a/../../x.csv"), b"a")), "zip-slip"),
    "absolute": (packed((entry("/etc/x.csv"), b"a")), "zip-slip"),
    "backslash": (packed((entry("..\\x.csv"), b"a")), "zip-slip"),
    "drive": (packed((entry("C:x.csv"), b"a")), "zip-slip"),
    "folder": (packed(("data/users.csv", b"a")), "zip-folder"),
    "empty folder": (packed(("data/", b"")), "zip-folder"),
    "upwards out of the macOS folder": (packed((entry("__MACOSX/../x.csv"), b"a")), "zip-slip"),
    "line end in a name": (packed((entry("a\nb.csv"), b"a")), "zip-name"),
    "symbolic link": (packed((entry("users.csv", 0o120777), b"/etc/passwd")), "zip-not-a-file"),
    "device": (packed((entry("users.csv", 0o020666), b"")), "zip-not-a-file"),
    "same name twice": (packed(("a.csv", b"a"), ("a.csv", b"b")), "zip-duplicate"),
    "method other than deflate": (packed(("a.csv", b"a"), method=zipfile.ZIP_BZIP2), "zip-method"),
    "too many members": (packed(*[(f"{n}.csv", b"") for n in range(21)]), "zip-too-many"),
    "member too large": (packed(("a.csv", bytes(5 << 20)), method=zipfile.ZIP_STORED), "zip-too-large"),
    "all too large": (
        packed(*[(f"{n}.csv", bytes(3 << 20)) for n in range(3)], method=zipfile.ZIP_STORED), "zip-too-large",
    ),
    "bomb": (packed(("a.csv", bytes(3 << 20))), "zip-bomb"),
    "not a zip": (b"users,are,here\r\n", "zip-damaged"),
    "empty": (b"", "zip-damaged"),
    "cut off": (oneroster_zip(20)["roster.zip"][:-200], "zip-damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_is_refused_as_a_whole(case):
    content, code = HOSTILE[case]
    assert code in codes(content)
    archive = judged(content)
    for member in archive.members:
        with pytest.raises(ArchiveError):
            archive.open(member.name)


def patched(content, signature, offset, fmt, value):
    """The zip with one number of its first record of this kind changed."""
    at = content.index(signature) + offset
    return content[:at] + struct.pack(fmt, value) + content[at + struct.calcsize(fmt) :]


class Watched(io.BytesIO):
    """Remembers the most that was ever read from it at once."""

    most = 0

    def read(self, size=-1):
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


UNICODE_PATH = 0x7075


def renamed(stored, name):
    """A member whose Unicode path field gives it another name than the stored one."""
    info, told = zipfile.ZipInfo(stored), name.encode()
    head = struct.pack("<HHBL", UNICODE_PATH, 5 + len(told), 1, zlib.crc32(stored.encode()))
    info.extra = head + told
    return info


@pytest.fixture
def of_python_3_13(monkeypatch):
    """Names are taken from Unicode path fields, as `zipfile` does from Python 3.13 on."""
    plain = zipfile.ZipFile.infolist

    def infolist(archive):
        for info in plain(archive):
            kind, size = struct.unpack_from("<HH", info.extra) if info.extra else (0, 0)
            if kind == UNICODE_PATH:
                info.filename = info.extra[9 : 4 + size].decode()
        return plain(archive)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", infolist)


RENAMED = {
    "upwards": ("users.csv", "../../users.csv", "zip-slip"),
    "absolute": ("users.csv", "/etc/users.csv", "zip-slip"),
    "backslash": ("users.csv", "..\\users.csv", "zip-slip"),
    "folder": ("users.csv", "data/users.csv", "zip-folder"),
    "line end": ("users.csv", "users\n.csv", "zip-name"),
    "stored upwards": ("../users.csv", "users.csv", "zip-slip"),
    "stored in the macOS folder": ("__MACOSX/users.csv", "users.csv", "zip-folder"),
    "named as another member": ("users.csv", "orgs.csv", "zip-duplicate"),
}


@pytest.mark.parametrize("case", RENAMED)
@pytest.mark.usefixtures("of_python_3_13")
def test_both_names_of_a_member_are_judged(case):
    stored, name, code = RENAMED[case]
    assert codes(packed((renamed(stored, name), b"a"), ("orgs.csv", b"b"))) == {code}


@pytest.mark.usefixtures("of_python_3_13")
def test_a_member_with_two_good_names_is_read_by_the_one_it_is_known_by():
    archive = judged(packed((renamed("Sch_ler.csv", "Schüler.csv"), b"a,b")))
    assert archive.findings == ()
    assert [(member.name, archive.open(member.name).read()) for member in archive.members] == [("Schüler.csv", b"a,b")]


def test_an_encrypted_member_is_refused():
    content = packed(("a.csv", b"abc"))
    assert "zip-encrypted" in codes(patched(content, CENTRAL, 8, "<H", 1))


def test_names_that_share_one_piece_of_data_are_refused():
    content = packed(("a.csv", b"abc" * 100), ("b.csv", b"xyz" * 100))
    second = content.rindex(CENTRAL)
    shared = content[: second + 42] + struct.pack("<I", 0) + content[second + 46 :]
    assert "zip-overlap" in codes(shared)


def test_a_table_of_contents_of_many_megabytes_is_not_read():
    many = packed(*[(f"{n:0200}.csv", b"") for n in range(21_000)])
    assert len(many) > 2 * CONTENTS_BYTES
    watched = Watched(many)
    archive = read_archive(watched, "data.zip", ArchiveLimits(members=10**9))
    assert [one.code for one in archive.findings] == ["zip-too-many"]
    assert watched.most <= CONTENTS_BYTES + 1


@pytest.mark.parametrize("claimed", [10, 100_000], ids=["less than there is", "more than there is"])
def test_a_member_that_lies_about_its_size_is_found_while_reading(claimed):
    content = packed(("a.csv", b"abcdefgh" * 1000))
    content = patched(patched(content, CENTRAL, 24, "<I", claimed), LOCAL, 22, "<I", claimed)
    archive = judged(content)
    assert archive.ok
    with pytest.raises(ArchiveError) as caught:
        archive.open("a.csv").read()
    assert caught.value.code == "zip-damaged"


def test_a_member_with_a_flipped_bit_is_found_while_reading():
    content = bytearray(packed(("a.csv", b"some,rows\r\n" * 500), method=zipfile.ZIP_STORED))
    content[200] ^= 1
    archive = judged(bytes(content))
    with pytest.raises(ArchiveError):
        archive.open("a.csv").read()


def test_zips_within_and_leavings_of_systems_are_passed_over_with_a_note():
    archive = judged(
        packed(("users.csv", b"a"), ("more.zip", b"PK"), (".DS_Store", b""), ("__MACOSX/._users.csv", b""))
    )
    assert archive.ok
    assert [member.name for member in archive.members] == ["users.csv"]
    assert [one.code for one in archive.findings] == ["zip-passed-over"] * 3
    with pytest.raises(ArchiveError):
        archive.open("more.zip")
