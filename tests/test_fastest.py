"""The fastest way is found, and found again when another one has become faster."""

import copy
import itertools
from functools import partial

import pytest

from core import fastest
from core.fastest import LEAST_PERIOD, LONGEST_PERIOD, PERIOD, REST, TRIES, Fastest


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
        tries = [name for name in "abc" for _ in range(TRIES)]
        for _ in range(len(tries) + PERIOD):
            call(7)
        assert taken == tries + [best] * PERIOD


@pytest.mark.parametrize(("share", "taken"), [(0.94, "other"), (0.96, "first"), (1.0, "first")])
def test_another_way_is_taken_if_it_is_clearly_faster_than_the_first(clock, share, taken):
    made = []

    def way(name, seconds):
        made.append(name)
        clock[0] += seconds

    call = Fastest([lambda: way("first", 1.0), lambda: way("other", share)])
    for _ in range(2 * TRIES + 1):
        call()
    assert made[-1] == taken


@pytest.mark.parametrize(
    ("seconds", "calls"), [(2**-20, 2**20 * LEAST_PERIOD), (2**-12, 2**12 * LEAST_PERIOD), (0.1, PERIOD)]
)
def test_short_calls_are_not_tried_again_too_soon(clock, seconds, calls):
    made = []

    def other():
        made.append("other")
        clock[0] += 2 * seconds

    def first():
        clock[0] += seconds

    clock[0] = 0.0
    call = Fastest([first, other])
    for _ in range(2 * TRIES + int(calls) + TRIES):
        call()
    assert len(made) == TRIES
    call()
    assert len(made) == TRIES + 1


def test_calls_that_become_slow_are_tried_again_when_the_time_has_come(clock):
    seconds, made = [2**-20], []

    def other():
        made.append("other")
        clock[0] += seconds[0] / 2

    def first():
        clock[0] += seconds[0]

    clock[0] = 0.0
    call = Fastest([first, other])
    for _ in range(2 * TRIES):
        call()
    seconds[0] = LEAST_PERIOD / PERIOD  # so that 512 calls take longer than is left
    made.clear()
    for _ in range(3 * PERIOD + 2 * TRIES):
        call()
    assert len(made) < 3 * PERIOD + 2 * TRIES  # the first way has been tried again


def test_where_the_first_way_stays_the_best_the_others_are_tried_ever_less_often(clock):
    seconds, tries = {"first": 2**-10, "other": 2**-9}, []

    def first():
        clock[0] += seconds["first"]

    def other():
        if not tries or clock[0] - tries[-1] > LEAST_PERIOD / 2:
            tries.append(clock[0])
        clock[0] += seconds["other"]

    call = Fastest([first, other])
    while len(tries) < 8:
        call()
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    block = PERIOD * seconds["first"]
    for pause, expected in zip(pauses, [2, 4, 8, 16, LONGEST_PERIOD, LONGEST_PERIOD, LONGEST_PERIOD], strict=True):
        assert expected <= pause <= expected + 2 * block


def test_another_way_than_the_first_has_to_prove_itself_often(clock):
    """On a machine that becomes busy, what other threads help with takes a hundred times as long."""
    seconds, made = {"first": 2**-10, "other": 2**-9}, []

    def take(name):
        made.append(name)
        clock[0] += seconds[name]

    call = Fastest([partial(take, "first"), partial(take, "other")])
    while clock[0] < 2 * LONGEST_PERIOD:
        call()
    seconds["other"] = 2**-11
    while made[-PERIOD:] != ["other"] * PERIOD:
        call()
    since = clock[0] - PERIOD * seconds["other"]
    seconds["other"] = 2**-8
    while made[-PERIOD:] != ["first"] * PERIOD:
        call()
    assert clock[0] - since <= LEAST_PERIOD + 2 * PERIOD * 2**-8 + PERIOD * seconds["first"]


def test_before_the_tries_the_first_way_goes_alone_for_a_while(clock):
    """What another one has left behind would slow it down, and so the other one would seem to be faster than it is."""
    seconds, made = 2**-16, []

    def take(name, share):
        made.append(name)
        clock[0] += share * seconds

    clock[0] = 0.0
    call = Fastest([lambda: take("first", 1), lambda: take("other", 0.5)])
    for _ in range(2 * TRIES):
        call()
    made.clear()
    while made[-2 * TRIES :] != ["first"] * TRIES + ["other"] * TRIES:
        call()
    before = "".join(name[0] for name in made[: -2 * TRIES])
    alone = len(before) - len(before.rstrip("f"))
    assert before == "o" * (len(before) - alone) + "f" * alone
    assert REST - PERIOD * seconds <= alone * seconds <= REST + PERIOD * seconds


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
    for calls in (2 * TRIES - 1 + PERIOD, 2 * TRIES + PERIOD):
        for _ in range(calls):
            call()
        assert taken[-PERIOD:] == ["second"] * PERIOD


def test_errors_are_passed_on():
    call = Fastest([lambda: 1 / 0, lambda: None])
    with pytest.raises(ZeroDivisionError):
        call()


def test_a_copy_finds_out_for_itself(clock):
    made = []

    def take(name, seconds):
        made.append(name)
        clock[0] += seconds

    call = Fastest([partial(take, "first", 2.0), partial(take, "other", 1.0)])
    for _ in range(2 * TRIES):
        call()
    duplicate = copy.copy(call)
    made.clear()
    call()
    duplicate()
    assert made == ["other", "first"]


def test_ctrl_c_between_two_calls_is_not_the_end(clock):
    made = []
    call = Fastest([partial(made.append, "first"), partial(made.append, "other")])
    call()
    with pytest.raises(KeyboardInterrupt):
        call._turns._turns.throw(KeyboardInterrupt)  # as a signal does it inside of a generator
    call()
    assert made == ["first", "first"]
