"""A small file that a server offers, and how it is described; for the tests of downloads."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from core.data.sources import SourceFile

CONTENT = bytes(range(256)) * 40
BODY = gzip.compress(CONTENT, compresslevel=0, mtime=0)  # level 0: long enough to be cut in the middle
OTHER = gzip.compress(CONTENT[::-1], mtime=0)
NAME = "toy-ubyte.gz"
PATH = f"/toy/{NAME}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(*urls: str) -> SourceFile:
    return SourceFile("toy", NAME, urls, len(BODY), sha256(BODY), "", len(CONTENT), sha256(CONTENT))


def target_in(folder: Path) -> Path:
    return folder / "toy" / NAME


def leave_part(folder: Path, url: str, data: bytes, version: str = '"one"') -> Path:
    """What an interrupted download leaves behind."""
    part = folder / "toy" / f"{NAME}.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(data)
    part.with_name(part.name + ".json").write_text(json.dumps({"url": url, "version": version}))
    return part


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "toy").iterdir() if not path.name.startswith("."))
