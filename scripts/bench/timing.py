"""Fair timing on a machine that is never quite idle: contenders take turns, and disturbed rounds are marked.

In one process, A B C A B C: whatever slows the machine for a while slows all of them. A figure is the median over the
rounds in which other processes took less than 15 % of a core, or over all rounds where too few were that quiet.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Action = Callable[[], Any]

DISTURBED = 0.15  # cores taken by other processes
# Seconds. After a pause Linux wakes two threads that hand work to each other on one core, and parts them only after
# some 50 milliseconds: a turn has to last several times as long to show what a training is like.
SHORTEST_TURN = 0.3
PAUSE = 0.25  # seconds; threads wait in a loop, on cores that the next one needs: OpenBLAS's for 0.1, MKL's for 0.2
FEWEST_QUIET = 0.25  # of the rounds, for a median over the quiet ones alone


@dataclass(frozen=True)
class Turn:
    """One contender's turn in a round: seconds a call, and the cores that this process kept busy."""

    seconds: float
    cores: float


@dataclass(frozen=True)
class Round:
    """One turn of each contender, and the cores that other processes took meanwhile (None if the system hides it)."""

    turns: Mapping[str, Turn]
    others: float | None

    @property
    def quiet(self) -> bool:
        return self.others is None or self.others < DISTURBED


@dataclass(frozen=True)
class Timing:
    """What all rounds say about one contender, in milliseconds a call."""

    median: float
    fastest: float
    cores: float  # busy on its behalf; below the number of threads where some of them wait


@dataclass(frozen=True)
class Comparison:
    """The timings of all contenders, by name, and how quiet the machine was."""

    timings: Mapping[str, Timing]
    rounds: int
    quiet: int
    only_quiet: bool  # whether the medians are over the quiet rounds alone


def compare(contenders: Mapping[str, Action], rounds: int, seconds: float) -> Comparison:
    """Let the contenders take turns, for `rounds` rounds or until `seconds` have passed (three rounds at least)."""
    repeats = {name: _warm_up(action) for name, action in contenders.items()}
    done: list[Round] = []
    end = time.perf_counter() + seconds
    while len(done) < rounds and (len(done) < 3 or time.perf_counter() < end):
        done.append(_round(contenders, repeats))
    quiet = [one for one in done if one.quiet]
    only_quiet = len(quiet) >= max(3, FEWEST_QUIET * len(done))
    chosen = quiet if only_quiet else done
    timings = {name: _summary([one.turns[name] for one in chosen]) for name in contenders}
    return Comparison(timings, len(done), len(quiet), only_quiet)


def _warm_up(action: Action) -> int:
    """Call until caches, workspaces and thread pools have settled; returns the calls that fill one turn."""
    for _ in range(3):
        action()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < 2 * SHORTEST_TURN:
        action()
        calls += 1
    return max(1, round(calls / 2))


def _round(contenders: Mapping[str, Action], repeats: Mapping[str, int]) -> Round:
    turns = {}
    wall, own, busy = time.perf_counter(), time.process_time(), _busy_seconds()
    for name, action in contenders.items():
        turns[name] = _turn(action, repeats[name])
    wall, own = time.perf_counter() - wall, time.process_time() - own
    after = _busy_seconds()
    others = None if busy is None or after is None else max(0.0, after - busy - own) / wall
    return Round(turns, others)


def _turn(action: Action, calls: int) -> Turn:
    time.sleep(PAUSE)
    action()  # brings its data back into the caches that the others have used since
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        action()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Turn(wall / calls, cpu / wall)


def _summary(turns: list[Turn]) -> Timing:
    milliseconds = [turn.seconds * 1e3 for turn in turns]
    return Timing(
        median=statistics.median(milliseconds),
        fastest=min(milliseconds),
        cores=statistics.median(turn.cores for turn in turns),
    )


def _busy_seconds() -> float | None:
    """Processor time that all processes together have used since the machine started, on Linux."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    idle_and_waiting = fields[3] + fields[4]
    return (sum(fields) - idle_and_waiting) / 100
