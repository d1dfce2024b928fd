"""Fixtures for what workers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from core.workers import Workers, set_threads, workers


@pytest.fixture
def two_workers() -> Iterator[None]:
    before = workers().count
    set_threads(2)
    yield
    set_threads(before)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[int], None]]:
    """Notes the tasks that workers were given."""
    noted: list[Callable[[int], None]] = []
    run = Workers.run
    monkeypatch.setattr(Workers, "run", lambda pool, task: noted.append(task) or run(pool, task))
    return noted
