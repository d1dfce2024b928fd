"""Archives read by name: sound ones of both kinds, and what a hostile or damaged one may try."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from core.data import archives
from core.data.archives import archive_files, read_zip_member, understood
from core.errors import UserError

FILES = {"top/a.txt": b"first", "top/b.txt": b"second", "top/c.bin": bytes(500)}


def make_zip(path, files=FILES, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path, files=FILES):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if name.endswith("b.txt") else 0o644
            archive.addfile(info, io.BytesIO(data))
    return path


def texts(name):
    return name.endswith(".txt")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_wanted_files_come_with_their_content(tmp_path, make):
    path = make(tmp_path / "archive")
    members = list(archive_files(path, texts, largest=10))
    assert [(member.path, member.data) for member in members] == [("top/a.txt", b"first"), ("top/b.txt", b"second")]
    assert [member.executable for member in members] == [False, make is make_tar]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_file_beyond_its_limit_is_refused(tmp_path, make):
    with pytest.raises(UserError, match=r"larger than the 5 bytes"):
        list(archive_files(make(tmp_path / "archive"), texts, largest=5))


def test_a_zip_member_larger_than_it_claims_is_refused(tmp_path):
    """The directory says 5 bytes, the compressed data unpacks to a million."""
    path = make_zip(tmp_path / "bomb.zip", {"a.txt": bytes(1_000_000)})
    data = path.read_bytes().replace((1_000_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(UserError):
        list(archive_files(path, texts, largest=10))


def test_a_tar_that_unpacks_to_far_too_much_is_refused_without_reading_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 10)
    path = make_tar(tmp_path / "bomb.tar.gz", {"huge": bytes(3_000_000), "a.txt": b"a"})
    with pytest.raises(UserError, match="far more"):
        list(archive_files(path, texts, largest=10))


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_too_many_files_are_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(UserError, match=r"more than 2 files|far more"):
        list(archive_files(make(tmp_path / "archive", FILES), texts, largest=1000))


def test_links_and_folders_of_a_tar_are_passed_over(tmp_path):
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in (("a.txt", tarfile.SYMTYPE), ("b.txt", tarfile.LNKTYPE), ("c.txt", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../etc/passwd"
            archive.addfile(info)
    assert list(archive_files(path, texts, largest=10)) == []


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.95])
def test_a_damaged_archive_is_one_line(tmp_path, make, keep):
    path = make(tmp_path / "archive", {f"{n}.txt": bytes(range(200)) for n in range(50)})
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(UserError, match=str(path)):
        list(archive_files(path, texts, largest=1000))


def test_a_flipped_bit_is_noticed(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"precious"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"precious", b"preciouS", 1))
    with pytest.raises(UserError, match="damaged"):
        list(archive_files(path, texts, largest=1000))


def test_a_password_is_one_line(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"secret"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag "encrypted", in the member's header and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        list(archive_files(path, texts, largest=1000))


def test_one_member_is_read(tmp_path):
    with zipfile.ZipFile(make_zip(tmp_path / "x.zip")) as archive:
        assert read_zip_member(archive, archive.getinfo("top/a.txt"), 10) == b"first"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_keep_their_contents(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "first")
        archive.writestr("a.txt", "second")
    assert [member.data for member in archive_files(path, texts, largest=1000)] == [b"first", b"second"]


def test_a_damaged_lzma_member_is_one_line(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.txt": bytes(range(256)) * 20}, zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        list(archive_files(path, texts, largest=10_000))


def test_a_damaged_header_within_a_tar_does_not_end_it(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name in ("a.txt", "b.txt", "c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"xyz"))
    data = bytearray(plain.getvalue())
    data[2 * 512] ^= 1  # the first letter of the second name: its header no longer has its checksum
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(data))
    with pytest.raises(UserError, match="damaged"):
        list(archive_files(path, texts, largest=1000))


def test_what_the_disk_does_is_one_line():
    with pytest.raises(UserError, match="x: cannot be read"), understood("x"):
        raise OSError("broken")
