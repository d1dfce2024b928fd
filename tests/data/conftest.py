"""Fixtures for the tests of downloads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faulty_server import FaultyServer, faulty_server
from toy_file import BODY, PATH

from core.data import fetch


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        running.files[PATH] = BODY
        yield running


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """No test waits; the pauses that a user would have had are in the list. No mirror comes from outside."""
    taken: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", taken.append)
    monkeypatch.delenv(fetch.MIRROR_VARIABLE, raising=False)
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    return taken
