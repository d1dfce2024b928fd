"""The pool of threads."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

from core import workers as pool_module
from core.cores import usable_cores
from core.workers import (
    Workers,
    alone,
    can_share,
    free_workers,
    is_working,
    set_threads,
    workers,
)


def test_every_rank_runs_once_in_a_thread_of_its_own():
    pool, seen = Workers(4), {}
    pool.run(lambda rank: seen.__setitem__(rank, threading.get_ident()))
    assert sorted(seen) == [0, 1, 2, 3]
    assert len(set(seen.values())) == 4
    assert seen[0] == threading.get_ident()


def test_the_first_error_is_raised_and_the_pool_goes_on():
    pool = Workers(3)

    def task(rank):
        if rank == 1:
            raise KeyError("rank 1")
        meet(pool, rank)

    for _ in range(2):
        with pytest.raises(KeyError, match="rank 1"):
            pool.run(task)
    done = []
    pool.run(lambda rank: (meet(pool, rank), done.append(rank)))
    assert sorted(done) == [0, 1, 2]


def meet(pool, rank):
    pool.sum(rank, np.zeros(1))


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_who_waits_for_a_sum_learns_that_it_will_never_come(failing):
    pool, ended = Workers(3), []

    def task(rank):
        try:
            if rank == failing:
                time.sleep(0.05)
                raise KeyError(rank)
            for _ in range(2):
                meet(pool, rank)
        finally:
            ended.append(rank)

    with pytest.raises(KeyError, match=str(failing)):
        pool.run(task)
    assert sorted(ended) == [0, 1, 2]


def test_sums_are_in_the_order_of_the_ranks():
    pool = Workers(3)
    parts, totals = np.array([[1e8], [-1e8], [1.0]], np.float32), {}

    def task(rank):
        totals[rank] = [pool.sum(rank, parts[rank])[0] for _ in range(50)]

    for _ in range(3):
        pool.run(task)
        assert all(values == [1.0] * 50 for values in totals.values())
    assert parts.ravel().tolist() == [1e8, -1e8, 1.0]


def test_every_rank_has_a_sum_of_its_own():
    pool, totals = Workers(3), {}
    pool.run(lambda rank: totals.__setitem__(rank, pool.sum(rank, np.ones(1))))
    totals[0][:] = 7
    totals[1][:] = 8
    assert totals[2] == 3


def test_who_is_alone_has_the_sum_of_all_parts_already():
    pool, part = Workers(3), np.ones(2)
    total = pool.sum(0, part)
    np.testing.assert_array_equal(total, part)
    assert not np.shares_memory(total, part)


def test_after_a_run_that_has_failed_a_sum_outside_of_a_run_is_the_callers_own():
    pool = Workers(2)
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda rank: 1 / rank)
    np.testing.assert_array_equal(pool.sum(0, np.ones(2)), np.ones(2))


@pytest.mark.parametrize("count", [0, -1])
def test_a_pool_needs_a_worker(count):
    with pytest.raises(ValueError, match="at least 1"):
        Workers(count)


def test_set_threads():
    before = workers().count
    assert set_threads(2) == 2
    assert workers().count == 2
    pool = workers()
    set_threads(2)
    assert workers() is pool
    assert set_threads(0) == usable_cores()
    with pytest.raises(ValueError, match="at least 0, got -1"):
        set_threads(-1)
    set_threads(before)


def test_workers_are_free_for_who_is_none_of_them():
    before, seen = workers().count, []
    set_threads(2)
    assert free_workers() is workers()
    workers().run(lambda rank: seen.append((free_workers(), can_share())))
    with alone():
        seen.append((free_workers(), can_share()))
    assert seen == [(None, False)] * 3
    assert can_share()
    set_threads(1)
    assert free_workers() is None
    assert not can_share()
    set_threads(before)


def test_who_is_alone_stays_so_after_a_run():
    pool = Workers(2)
    with alone():
        pool.run(lambda rank: None)
        assert is_working()
        with alone():
            pass
        assert is_working()
    assert not is_working()


def helpers():
    return {thread for thread in threading.enumerate() if thread.name.startswith("worker ")}


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_helpers_end_with_their_pool():
    before = helpers()
    pool = Workers(4)
    pool.run(lambda rank: None)
    own = helpers() - before
    assert len(own) == 3
    del pool
    gc.collect()
    wait_until(lambda: not own & helpers())


def test_another_number_of_threads_leaves_no_old_ones_behind():
    before = workers().count
    set_threads(1)
    gc.collect()
    others = helpers()
    for count in (4, 3, 5, 3):
        set_threads(count)
        wait_until(lambda count=count: len(helpers() - others) == count - 1)
    set_threads(before)


def test_a_task_is_forgotten_when_it_is_done():
    class Large:
        pass

    pool, large = Workers(2), Large()
    alive = weakref.ref(large)
    pool.run(partial(lambda large, rank: None, large))
    del large
    gc.collect()
    wait_until(lambda: alive() is None)


def press_ctrl_c(*after):
    """Send this process the signal of Ctrl-C at every one of some times, in seconds from now."""

    def press():
        for seconds in np.diff([0, *after]):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()


def test_after_ctrl_c_no_helper_is_at_work():
    pool, ended = Workers(3), []

    def slow(rank):
        time.sleep(0.05 if rank == 0 else 0.5)
        ended.append(rank)

    press_ctrl_c(0.2)  # when rank 0 has nothing left to do but wait
    with pytest.raises(KeyboardInterrupt):
        pool.run(slow)
    assert not is_working()
    assert sorted(ended) == [0, 1, 2]
    ranks = []
    for _ in range(3):
        pool.run(lambda rank: (meet(pool, rank), ranks.append(rank)))
    assert sorted(ranks) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_after_two_ctrl_c_the_next_run_waits_for_who_is_late():
    pool, release, events = Workers(3), threading.Event(), []

    def slow(rank):
        if rank == 1:
            release.wait(20)
            with pytest.raises(pool_module._StoppedError):  # not the sum of the next run
                pool.sum(rank, np.full(1, 100.0))
            events.append("late")

    press_ctrl_c(0.1, 0.3)
    with pytest.raises(KeyboardInterrupt):
        pool.run(slow)
    assert not events
    threading.Timer(0.2, release.set).start()
    totals = {}
    pool.run(lambda rank: (events.append("next"), totals.__setitem__(rank, pool.sum(rank, np.full(1, rank)).item())))
    assert events == ["late", "next", "next", "next"]
    assert totals == {0: 3, 1: 3, 2: 3}


def test_interrupted_runs_leave_no_helpers_behind():
    pool, before = Workers(2), helpers()

    def interrupted(rank):
        if rank == 0:
            raise KeyboardInterrupt
        meet(pool, rank)

    for _ in range(10):
        with pytest.raises(KeyboardInterrupt):
            pool.run(interrupted)
    pool.run(partial(meet, pool))
    assert len(helpers()) == len(before)


def test_a_pool_is_copied_by_what_it_is():
    pool = Workers(3)
    assert copy.deepcopy(pool) is pool
    assert pickle.loads(pickle.dumps(pool)).count == 3


def _sum_in_child(pool, queue):
    totals = []
    for one in (pool, workers()):
        total = []
        one.run(lambda rank, total=total, one=one: (meet(one, rank), total.append(rank)))
        totals.append(sorted(total))
    queue.put(totals)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of forking with threads, the point here
@pytest.mark.parametrize("busy", [False, True])
def test_in_a_forked_process_pools_have_helpers_again_and_as_many(busy):
    before = workers().count
    set_threads(3)
    pool, release = Workers(2), threading.Event()
    if busy:  # another thread, of which the child knows nothing but its locks
        thread = threading.Thread(target=pool.run, args=(lambda rank: release.wait(20),))
        thread.start()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(pool, queue))
    child.start()
    assert queue.get(timeout=20) == [[0, 1], [0, 1, 2]]
    child.join()
    release.set()
    if busy:
        thread.join()
    ranks = []
    pool.run(ranks.append)
    assert sorted(ranks) == [0, 1]
    set_threads(before)
