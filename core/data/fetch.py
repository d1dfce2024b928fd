"""Get a file of a data set: from the folder of downloads, from a mirror, or from its publishers.

Nothing is used before its checksum is right, and a file takes its name only when it is whole and right.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from core.data.sources import SourceFile
from core.data.transfer import TransferError, discard, transfer
from core.data.verify import judge
from core.errors import UserError
from core.files import flush_to_disk, fsync_folder, locked

ROUNDS = 3  # times that an address is tried when its trouble may pass
BACKOFF = 1.0  # seconds before the second round, doubled before the third
PIECES = 50  # times that a broken transfer is continued at once, as long as each time brings more

MIRROR_VARIABLE = "BARENETS_MIRROR"
DATA_VARIABLE = "BARENETS_DATA"


class FetchError(UserError):
    """No source gave a good copy of a file."""


class Fetched(NamedTuple):
    """Where a file lies, whether it is proven to be the publisher's data, and the address it was just fetched from."""

    path: Path
    verified: bool
    address: str = ""  # empty where the file was there already


@dataclass
class _Search:
    """What one search for one file may accept, and why each place had to be passed over."""

    file: SourceFile
    target: Path  # where a download goes
    reasons: dict[str, str] = field(default_factory=dict)
    met_other_data: bool = False

    def look_at(self, path: Path, lenient: bool) -> Fetched | None:
        """The file at `path` if it is the wanted data, or, when lenient, any other readable data."""
        if not path.is_file():
            if path != self.target:
                self.reasons[str(path)] = "no such file"
            return None
        verdict = judge(path, self.file)
        if verdict.kind == "right":
            return Fetched(path, self.file.has_checksum)
        if verdict.kind == "other" and lenient:
            return Fetched(path, verified=False)
        self.reasons[str(path)] = verdict.reason
        self.met_other_data |= verdict.kind == "other"
        return None


def downloads_folder(project: Path, data_dir: Path | None = None) -> Path:
    """The folder that keeps downloads: `data_dir`, else $BARENETS_DATA, else `<project>/archive/downloads`."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE)
    return Path(chosen).expanduser() if chosen else project / "archive" / "downloads"


def named_mirror(mirror: str | None = None) -> str | None:
    """The mirror to use: `mirror`, else $BARENETS_MIRROR, else none."""
    return mirror or os.environ.get(MIRROR_VARIABLE) or None


def download(
    file: SourceFile,
    folder: Path,
    mirror: str | None = None,
    offline: bool = False,
    allow_unverified: bool = False,
) -> Fetched:
    """Return a good copy of `file`, which `<folder>/<data set>/<name>` holds or comes to hold.

    mirror: a URL or a folder, laid out as `<data set>/<name>`, that replaces the publishers; without it
    $BARENETS_MIRROR does where set. A folder is read where it lies, without a copy. offline: use no web address.
    allow_unverified: also take a readable file whose content is not the publisher's, from the mirror or put into the
    folder of downloads by hand.
    Raises FetchError, which names the file, every address tried with its reason, and where to put the file by hand;
    UserError for a mirror that is none, or a folder that cannot be written.
    """
    search = _Search(file, folder / file.dataset / file.name)
    mirror = named_mirror(mirror)
    mirror_folder = _as_folder(mirror) if mirror else None
    try:
        found = search.look_at(search.target, lenient=allow_unverified and (offline or not mirror))
        if not found and mirror_folder:
            found = search.look_at(mirror_folder / file.dataset / file.name, allow_unverified)
        elif not found and not offline:
            with locked(search.target):
                addresses = (f"{mirror.rstrip('/')}/{file.dataset}/{file.name}",) if mirror else file.urls
                found = search.look_at(search.target, lenient=False)  # another process may just have brought it
                found = found or _from_web(search, addresses, allow_unverified and mirror is not None)
    except OSError as error:
        place = error.filename or search.target
        raise UserError(f"cannot use {place}: {error.strerror or error} (--data-dir chooses another folder)") from error
    if not found:
        raise FetchError(_complaint(search, offline and not mirror_folder))
    return found


def _as_folder(mirror: str) -> Path | None:
    """The mirror as a folder, or None when it is a web address."""
    if re.match(r"https?://", mirror, re.IGNORECASE):
        return None
    folder = Path(mirror).expanduser()
    if "://" in mirror or not folder.is_dir():
        raise UserError(f"--mirror {mirror}: neither a folder that exists nor an http:// or https:// address")
    return folder


def _from_web(search: _Search, addresses: tuple[str, ...], lenient: bool) -> Fetched | None:
    """Try the addresses in order, and those whose trouble may pass once more after a pause, and again."""
    part = search.target.with_name(search.target.name + ".part")
    alive = list(addresses)
    pause = 0.0
    for turn in range(ROUNDS):
        time.sleep(pause)
        pause = BACKOFF * 2**turn
        for address in tuple(alive):
            try:
                verified = _bring(search, address, part, lenient)
            except TransferError as failure:
                search.reasons[_without_password(address)] = str(failure)
                pause = max(pause, failure.wait)
                if not failure.again:
                    alive.remove(address)
                continue
            return Fetched(search.target, verified, address)
        if not alive:
            break
    return None


def _bring(search: _Search, address: str, part: Path, lenient: bool) -> bool:
    """Download, check, and only then give the file its name; True if it is proven to be the publisher's data."""
    continued = _transfer_in_pieces(address, part, search.file)
    verdict = judge(part, search.file)
    search.met_other_data |= verdict.kind == "other"
    if verdict.kind != "right" and not (verdict.kind == "other" and lenient):
        discard(part)
        raise TransferError(verdict.reason, again=continued)  # its beginning may come from a damaged earlier attempt
    with open(part, "r+b") as handle:
        flush_to_disk(handle)
    os.replace(part, search.target)
    discard(part)
    fsync_folder(search.target.parent)
    return verdict.kind == "right" and search.file.has_checksum


def _transfer_in_pieces(address: str, part: Path, file: SourceFile) -> bool:
    for _ in range(PIECES):
        before = part.stat().st_size if part.exists() else 0
        try:
            return transfer(address, part, file.largest, file.name)
        except TransferError as failure:
            if not failure.again or not part.exists() or part.stat().st_size <= before:
                raise
    raise TransferError(f"the connection broke {PIECES} times", again=False)


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _complaint(search: _Search, offline: bool) -> str:
    tried = "; ".join(f"{place}: {reason}" for place, reason in search.reasons.items()) or "nothing there yet"
    advice = "--allow-unverified takes other data, marked as such; " if search.met_other_data else ""
    why = " while --offline" if offline else ""
    return (
        f"could not get {search.file}{why} ({tried}). {advice}--mirror URL_OR_FOLDER names another source, "
        f"--synthetic makes stand-in data without any network, or put the file at {search.target} by hand"
    )
