"""A pool of Python threads that run the same task on every rank, one BLAS thread each.

NumPy drops the interpreter lock in copies, ufuncs and matrix products, so plain threads keep all cores busy, with
element-wise work, too. But another thread has to wake first: products that are over sooner are left to the threads
inside BLAS, see `core.blas`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from core.backend import Array
from core.blas import limit_blas_threads
from core.checks import expect_whole
from core.cores import usable_cores

Task = Callable[[int], None]


class _Thread(threading.local):
    working = False  # this thread is a rank of a pool that is running


_thread = _Thread()
_forks = 0  # between the first process and this one
_beginning = threading.Lock()


def _note_fork() -> None:
    global _forks, _beginning
    _forks += 1
    _beginning = threading.Lock()  # a thread that is not here any more may hold the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def is_working() -> bool:
    """Whether the calling thread is at work for a pool, and so should not hand out work itself."""
    return _thread.working


@contextmanager
def alone() -> Iterator[None]:
    """Let nobody help the calling thread in a `with` block."""
    before, _thread.working = is_working(), True
    try:
        yield
    finally:
        _thread.working = before


class _StoppedError(Exception):
    """Another rank has failed; its error is the one to raise."""


class _Helpers:
    """The threads of the ranks from 1 on, and what they exchange with rank 0. They do not keep their pool alive.

    Queues wake a thread as fast as Python can (10 to 80 microseconds a round trip on virtual machines), and Ctrl-C can
    leave neither them nor raw locks in a state that nobody gets out of, as it can the barriers, conditions and threads
    of `threading`.
    """

    def __init__(self, count: int) -> None:
        self.tasks, self.ends = _queues(count), _queues(count)  # of a run
        self.parts, self.totals = _queues(count), _queues(count)  # of a sum
        self.alive = {rank: threading.Lock() for rank in range(1, count)}  # locked as long as the thread is
        for rank, alive in self.alive.items():
            alive.acquire()
            threading.Thread(target=self._serve, args=(rank,), daemon=True, name=f"worker {rank}").start()

    def share(self, task: Task) -> BaseException | None:
        """Call `task(rank)` on every rank, and wait for all; the error of the first rank that has one of its own."""
        for tasks in self.tasks.values():
            tasks.put(task)
        first = self._attempt(task, 0)
        for ends in self.ends.values():
            error = ends.get()
            if first is None or isinstance(first, _StoppedError):
                first = error
        return first

    def sum(self, rank: int, part: Array) -> Array:
        """See `Workers.sum`."""
        if rank > 0:
            self.parts[rank].put(part)
            return _receive(self.totals[rank])
        total: Array = part.copy()
        for parts in self.parts.values():
            total += _receive(parts)
        for totals in self.totals.values():
            totals.put(total.copy())
        return total

    def let_go(self) -> None:
        """Let the threads end, as soon as they have done what they are at."""
        self._stop()
        for tasks in self.tasks.values():
            tasks.put(None)

    def end(self) -> None:
        """Wait until the threads have ended."""
        self.let_go()
        for alive in self.alive.values():
            with alive:
                pass

    def _serve(self, rank: int) -> None:
        _thread.working = True
        tasks, ends = self.tasks[rank], self.ends[rank]
        while (task := tasks.get()) is not None:
            error = self._attempt(task, rank)
            del task  # and the arrays that it knows
            ends.put(error)
        self.alive[rank].release()

    def _attempt(self, task: Task, rank: int) -> BaseException | None:
        try:
            task(rank)
        except BaseException as error:
            self._stop()
            return error
        return None

    def _stop(self) -> None:
        """Let nobody wait for a sum any more."""
        for queue in (*self.parts.values(), *self.totals.values()):
            queue.put(None)


def _queues(count: int) -> dict[int, SimpleQueue[Any]]:
    """One for each rank from 1 on."""
    return {rank: SimpleQueue() for rank in range(1, count)}


def _receive(queue: SimpleQueue[Array | None]) -> Array:
    received = queue.get()
    if received is None:
        queue.put(None)  # for the next time
        raise _StoppedError
    return received


class Workers:
    """`count` workers: the calling thread is rank 0, helper threads are the others.

    The helpers end with their pool. In a forked process, where they do not survive, the pool gets new ones at its next
    run.
    """

    def __init__(self, count: int) -> None:
        expect_whole(self, count=count)
        self.count = count
        self._begin()

    def _begin(self) -> None:
        self._running = threading.Lock()
        self._helpers = _Helpers(self.count)
        self._end = self._when_gone()
        self._is_over = True  # the last run has ended without an error, and every helper waits for a task
        limit_blas_threads()
        self._forks = _forks  # last: from now on others use what has just been made

    def run(self, task: Task) -> None:
        """Call `task(rank)` on every rank and wait for all; an error of any rank is raised here.

        Threads that call at the same time take turns. A task must not call `run` of its own pool. After an error or
        Ctrl-C no rank is at work any more, unless a second Ctrl-C ends the waiting for it; then the next run waits.
        """
        if self.count == 1:
            task(0)
            return
        if self._forks != _forks:
            self._begin_again()
        with self._running:
            if not self._is_over:
                self._replace()
            before, self._is_over = is_working(), False
            _thread.working = True
            try:
                error = self._helpers.share(task)
                self._is_over = error is None
            finally:
                _thread.working = before
                if not self._is_over:
                    self._helpers.end()
        if error:
            raise error

    def sum(self, rank: int, part: Array) -> Array:
        """The sum of every rank's `part`, added in the order of the ranks; each rank gets its own copy.

        For the task of a run, in which all ranks must call it equally often and in the same order. A rank that fails
        ends the others' waiting. Outside of a run nobody else has a part: then the sum is the caller's own.
        """
        if self._is_over or not is_working():
            own: Array = part.copy()
            return own
        return self._helpers.sum(rank, part)

    def _replace(self) -> None:
        """Get new helpers once the old ones have ended, in whose queues something of a broken run may be left."""
        self._helpers.end()
        self._end.detach()
        self._helpers = _Helpers(self.count)
        self._end = self._when_gone()

    def _when_gone(self) -> weakref.finalize[[], Workers]:
        end = weakref.finalize(self, self._helpers.let_go)
        end.atexit = False  # others may still work then
        return end

    def _begin_again(self) -> None:
        with _beginning:
            if self._forks != _forks:
                self._end.detach()
                self._begin()

    def __deepcopy__(self, memo: Any) -> Workers:
        return self  # whoever works for the one can work for the other

    def __reduce__(self) -> tuple[type[Workers], tuple[int]]:
        return Workers, (self.count,)


_pool: Workers | None = None


def set_threads(count: int = 0) -> int:
    """Use `count` worker threads from now on, 0 for one a usable core; returns the number."""
    global _pool
    expect_whole("set_threads", 0, count=count)
    count = count or usable_cores()
    if _pool is None or _pool.count != count:
        _pool = Workers(count)
    return count


def workers() -> Workers:
    """The process's pool of workers, started at its first use."""
    if _pool is None:
        set_threads()
    assert _pool is not None
    return _pool


def free_workers() -> Workers | None:
    """The workers, if there are several, and the caller is none of them, so that they would wait while he works."""
    if _thread.working:
        return None
    pool = _pool or workers()
    return pool if pool.count > 1 else None


def can_share() -> bool:
    """Whether there are workers who would wait while the caller works."""
    return free_workers() is not None
