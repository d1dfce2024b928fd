"""Fixtures for the tests that use a demo in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import chromium

from scripts.visit.demos import visit


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window; the test is skipped where there is none."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The open page of the demo at the module's `address`, which may ask nobody outside and log no error."""
    with visit(browser, address) as page:
        yield page
