"""Members of zip and tar.gz archives, read by name into memory, each below a byte limit; nothing is ever unpacked."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from core.data.verify import GZIP_MAGIC
from core.errors import UserError

MOST_FILES = 200_000  # entries of an archive
EXECUTABLE = 0o100
BLOCK = 512  # bytes: a tar archive is made of these
DAMAGED_HEADER = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class Member(NamedTuple):
    """A file of an archive: its path there, its content, and whether it is marked as a program."""

    path: str
    data: bytes
    executable: bool


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Turn what is wrong with the archive `name` into a UserError of one line."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError):
        raise UserError(f"{name}: a damaged or truncated archive, or none; fetch it again") from None
    except (NotImplementedError, RuntimeError):  # a compression that Python lacks, or a password
        raise UserError(f"{name}: encrypted, or compressed in a way that cannot be read here") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error})") from error


def read_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, largest: int) -> bytes:
    """The content, at most `largest` bytes, of one file of an open zip archive, whose CRC-32 is checked.

    Raises UserError where it is larger than it may be or than it claims.
    """
    with archive.open(info) as stream:
        data = stream.read(min(largest, info.file_size) + 1) if info.file_size <= largest else b""
    if len(data) != info.file_size:
        raise UserError(f"{info.filename}: larger than the {largest:,} bytes that it may have, or than it claims")
    return data


def archive_files(path: Path, wanted: Callable[[str], bool], largest: int) -> Iterator[Member]:
    """Every file of a zip or tar.gz archive whose path is `wanted`, in the order of the archive.

    largest: the most bytes that one file may have. Raises UserError for a file beyond that, an archive that unpacks to
    far more than it should, and everything that is no archive.
    """
    with understood(str(path)), open(path, "rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        yield from (_tar_files if packed else _zip_files)(stream, wanted, largest, path)


def _zip_files(stream: BinaryIO, wanted: Callable[[str], bool], largest: int, path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for count, info in enumerate(archive.infolist()):
            _check_count(count, path)
            if not info.is_dir() and wanted(info.filename):
                data = read_zip_member(archive, info, largest)
                yield Member(info.filename, data, bool(info.external_attr >> 16 & EXECUTABLE))


def _tar_files(stream: BinaryIO, wanted: Callable[[str], bool], largest: int, path: Path) -> Iterator[Member]:
    budget = 2 * BLOCK * MOST_FILES + 20 * path.stat().st_size
    with gzip.open(stream) as plain:
        capped = cast("BinaryIO", _Capped(plain, budget, path))  # it has the one method that is called
        with tarfile.open(fileobj=capped, mode="r|", tarinfo=_StrictHeader) as archive:
            for count, info in enumerate(archive):
                _check_count(count, path)
                if not info.isfile() or not wanted(info.name):
                    continue
                if info.size > largest:
                    raise UserError(f"{path}: {info.name} is larger than the {largest:,} bytes that it may have")
                content = archive.extractfile(info)
                data = content.read() if content else b""
                if len(data) != info.size:
                    raise EOFError
                yield Member(info.name, data, bool(info.mode & EXECUTABLE))


class _StrictHeader(tarfile.TarInfo):
    """Refuses a damaged header, which `tarfile` would take for the end of the archive once it has read a member."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictHeader:
        try:
            return super().fromtarfile(archive)
        except DAMAGED_HEADER as error:
            raise tarfile.ReadError(str(error)) from None


class _Capped:
    """Reads from a stream until the budget of bytes is spent; what is skipped counts too, because it is unpacked."""

    def __init__(self, stream: gzip.GzipFile, budget: int, path: Path) -> None:
        self.stream, self.budget, self.path = stream, budget, path

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.budget -= len(data)
        if self.budget < 0:
            raise UserError(f"{self.path}: unpacks to far more than the data set has")
        return data


def _check_count(count: int, path: Path) -> None:
    if count >= MOST_FILES:
        raise UserError(f"{path}: holds more than {MOST_FILES:,} files, which the data set does not have")
