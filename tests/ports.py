"""Ports of its own for each of the processes that share the tests."""

import os

APART = 1000  # more than any launcher looks through


def own(port: int) -> int:
    """A port that the tests in the other processes leave alone, where they ask so, too."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")  # "gw1", ...
    return port + APART * int(worker.removeprefix("gw"))
