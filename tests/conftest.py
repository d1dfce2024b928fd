"""Fixtures for the tests that use a demo in a real browser, and how many processes share the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import chromium

from core.cores import usable_cores
from scripts.visit.demos import visit

MOST_PROCESSES = 4  # each may need a gigabyte


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """For `pytest -n auto`; 0 is the one process that there is without it, and None what the environment says."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    count = min(usable_cores(), MOST_PROCESSES)
    return count if count > 1 else 0


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
