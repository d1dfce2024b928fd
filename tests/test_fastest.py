"""The fastest way is found, and found again when another one has become faster."""

import pytest

from core import fastest
from core.fastest import PERIOD, TRIES, Fastest


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the ways move on."""
    now = [0.0]
    monkeypatch.setattr(fastest, "perf_counter", lambda: now[0])
    return now


def test_all_ways_are_tried_and_the_fastest_is_taken_until_they_are_tried_again(clock):
    seconds, taken = {}, []

    def way(name):
        def take(argument):
            taken.append(name)
            clock[0] += seconds[name]
            assert argument == 7

        return take

    call = Fastest([way("a"), way("b"), way("c")])
    for best in ("b", "a", "c", "c"):
        seconds.update({"a": 3.0, "b": 2.5, "c": 2.0} | {best: 1.0})
        taken.clear()
        for _ in range(PERIOD):
            call(7)
        tries = [name for name in "abc" for _ in range(TRIES)]
        assert taken == tries + [best] * (PERIOD - len(tries))


def test_a_single_disturbance_decides_nothing(clock):
    durations = iter([1.0] * (TRIES - 1) + [100.0] + [2.0] * TRIES)
    taken = []

    def take(name):
        taken.append(name)
        clock[0] += next(durations, 0.0)

    call = Fastest([lambda: take("disturbed once"), lambda: take("slower")])
    for _ in range(2 * TRIES + 1):
        call()
    assert taken[-1] == "disturbed once"


def test_the_only_way_is_not_timed(monkeypatch):
    monkeypatch.setattr(fastest, "perf_counter", None)
    taken = []
    call = Fastest([lambda: taken.append(1)])
    for _ in range(PERIOD + 1):
        call()
    assert len(taken) == PERIOD + 1


def test_a_try_that_fails_counts_for_nothing_else(clock):
    """The times of later tries are not taken for those of other ways."""
    failing, taken = [True], []

    def take(name, seconds):
        taken.append(name)
        if name == "first" and failing and failing.pop():
            raise ZeroDivisionError
        clock[0] += seconds

    call = Fastest([lambda: take("first", 2.0), lambda: take("second", 1.0)])
    with pytest.raises(ZeroDivisionError):
        call()
    for _ in range(2):
        for _ in range(PERIOD):
            call()
        assert taken[-5:-2] == ["second"] * 3


def test_errors_are_passed_on():
    call = Fastest([lambda: 1 / 0, lambda: None])
    with pytest.raises(ZeroDivisionError):
        call()
