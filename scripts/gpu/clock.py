"""How long a GPU takes, and how much work to time it with. For `gpu_check.py` and the tests."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.backend import gpu_module

Action = Callable[[], Any]


@dataclass
class Clock:
    """Times what a GPU does: events around several calls in a row, the median of some rounds."""

    rounds: int = 15
    calls: int = 10

    def seconds(self, action: Action) -> float:
        """Seconds a call takes, after one that does not count."""
        action()
        cuda = gpu_module().cuda
        if not hasattr(cuda, "Event"):  # the emulated GPU, in tests
            begin = time.perf_counter()
            action()
            return time.perf_counter() - begin
        times = []
        for _ in range(self.rounds):
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            for _ in range(self.calls):
                action()
            end.record()
            end.synchronize()
            times.append(cuda.get_elapsed_time(begin, end) / 1000 / self.calls)
        return statistics.median(times)


@dataclass
class Sizes:
    """How much work to measure with; the defaults fill a large GPU."""

    elements: int = 1 << 26
    columns: int = 256
    matrices: tuple[int, ...] = (1024, 2048, 4096)
    convolutions: tuple[tuple[int, int, int], ...] = (  # pixels of a side, channels in and out: the CIFAR networks'
        (32, 3, 32),
        (32, 32, 64),
        (16, 64, 128),
        (16, 128, 256),
        (8, 256, 256),
    )
    batch: int = 256
    clock: Clock = field(default_factory=Clock)
