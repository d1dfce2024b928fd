"""A pool of Python threads that run the same task on every rank, one BLAS thread each.

NumPy drops the interpreter lock in copies, ufuncs and matrix products, so plain threads keep all cores busy. They beat
the threads inside OpenBLAS twice: element-wise work runs in parallel too, and nothing spins when the machine is busy.
Only where a single row or image leaves nothing else to share may products be theirs, see `with_blas_threads`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from core.backend import Array
from core.cores import usable_cores

Task = Callable[[int], None]

SETTERS = tuple(  # OpenBLAS's names, as it calls itself and as NumPy's wheels call it
    f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)


class _Thread(threading.local):
    working = False  # this thread is a rank of a pool that is running


_thread = _Thread()
_forks = 0  # between the first process and this one
_beginning = threading.Lock()


def _note_fork() -> None:
    global _forks, _beginning
    _forks += 1
    _beginning = threading.Lock()  # a thread that is not here any more may hold the old one


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


class _Work:
    """What the workers are at: all that the helpers know of their pool, so that they do not keep it alive."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.task: Task | None = None
        self.errors: list[BaseException] = []
        self.is_broken = False  # an error or Ctrl-C has ended a run: helpers may still be at it
        # Two raw locks a helper are the fastest hand-over that Python has (about 10 microseconds a round trip).
        self.start = [_locked() for _ in range(count - 1)]
        self.done = [_locked() for _ in range(count - 1)]
        for rank in range(1, count):
            threading.Thread(target=self._serve, args=(rank,), daemon=True, name=f"worker {rank}").start()

    def share(self, task: Task) -> None:
        """Call `task(rank)` on every rank, and wait for all."""
        self.task = task
        for start in self.start:
            start.release()
        before, _thread.working = is_working(), True
        self._attempt(task, 0)
        _thread.working = before
        for done in self.done:
            done.acquire()
        self.task = None

    def end(self) -> None:
        """Let the helpers go, each as soon as it has nothing to do."""
        self.task = None
        for start in self.start:
            if start.locked():
                start.release()

    def _serve(self, rank: int) -> None:
        start, done = self.start[rank - 1], self.done[rank - 1]
        _thread.working = True
        while True:
            start.acquire()
            if (task := self.task) is None:
                return
            self._attempt(task, rank)
            del task  # and the arrays that it knows
            done.release()

    def _attempt(self, task: Task, rank: int) -> None:
        try:
            task(rank)
        except threading.BrokenBarrierError:
            pass  # another rank failed, and its error is the one to raise
        except BaseException as error:
            self.errors.append(error)
            self.barrier.abort()


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class Workers:
    """`count` workers: the calling thread is rank 0, helper threads are the others.

    `barrier` lets the ranks of one `run` wait for each other; it breaks, and so frees everyone, when a rank fails. The
    helpers end with their pool. In a forked process, where they do not survive, the pool gets new ones at its next run.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"Workers expected a count of at least 1, got {count}")
        self.count = count
        self._begin()

    def _begin(self) -> None:
        self._running = threading.Lock()
        self._work = _Work(self.count)
        self._end = self._when_gone()
        limit_blas_threads()
        self._forks = _forks  # last: from now on others use what has just been made

    @property
    def barrier(self) -> threading.Barrier:
        return self._work.barrier

    def run(self, task: Task) -> None:
        """Call `task(rank)` on every rank and wait for all; an error of any rank is raised here.

        Threads that call at the same time take turns. A task must not call `run` of its own pool.
        """
        if self.count == 1:
            task(0)
            return
        if self._forks != _forks:
            self._begin_again()
        with self._running:
            if self._work.is_broken or self._work.errors:
                self._replace()
            work, before = self._work, is_working()
            try:
                work.share(task)
            except BaseException:  # Ctrl-C, not in a task but while the others are waited for
                work.is_broken, _thread.working = True, before
                raise
            if work.errors:  # so the barrier may be broken, too
                error, work.is_broken, work.errors = work.errors[0], True, []
                raise error

    def _replace(self) -> None:
        """Let the helpers finish what they are at, and others take their place."""
        end = self._end
        self._work = _Work(self.count)
        self._end = self._when_gone()
        end()

    def _when_gone(self) -> weakref.finalize[[], Workers]:
        end = weakref.finalize(self, self._work.end)
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


class Member:
    """One rank's view of the group: sums over all ranks, for statistics that couple the samples of a batch."""

    def __init__(self, group: Group, rank: int) -> None:
        self._group = group
        self._rank = rank

    def sum(self, array: Array) -> Array:
        """The sum of every rank's `array`, added in the order of the ranks; each rank gets its own copy."""
        return self._group.sum(self._rank, array)


class Group:
    """The meeting place of the ranks. All of them must call `sum` equally often and in the same order."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        # Two sets of slots in turn: nobody can write the next sum's slot while another still reads this one's.
        self._slots: list[dict[int, Array]] = [{}, {}]
        self._turns = [0] * workers.count

    def open(self) -> None:
        """Start a new series of sums, also after one that an error cut short; called before the ranks run."""
        self._turns = [0] * self._workers.count

    def sum(self, rank: int, array: Array) -> Array:
        """The sum over the ranks of their `array`, for the given rank."""
        slots = self._slots[self._turns[rank]]
        self._turns[rank] ^= 1
        slots[rank] = array
        self._workers.barrier.wait()
        total: Array = slots[0].copy()
        for other in range(1, self._workers.count):
            total += slots[other]
        return total


_pool: Workers | None = None


def set_threads(count: int = 0) -> int:
    """Use `count` worker threads from now on, 0 for one a usable core; returns the number."""
    global _pool
    if count < 0:
        raise ValueError(f"set_threads expected 0 or more, got {count}")
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


def limit_blas_threads() -> None:
    """One BLAS thread for each thread that calls it: the workers are the parallelism."""
    for library in _blas_libraries():
        _setter(library)(1)


_lending = threading.Lock()  # held while BLAS has threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
    # In OpenBLAS a fork ends its threads, under whatever product they are making: so it has to wait.
    os.register_at_fork(before=_lending.acquire, after_in_parent=_lending.release, after_in_child=_lending.release)


def with_blas_threads(count: int, make: Callable[..., Any], *arguments: Any) -> None:
    """Call make(*arguments), whose products get `count` of BLAS's own threads.

    They wait for work in a loop, while a worker has to be woken, which takes longer than it saves where a product is
    over soon. So they are better for a single row or image, if nobody else uses the cores: then they wait for each
    other, for milliseconds (`core.fastest` notices). Not for workers, all of whom the number would concern.
    """
    setters = _blas_setters()
    with _lending:
        for set_threads_of_library in setters:
            set_threads_of_library(count)
        try:
            make(*arguments)
        finally:
            for set_threads_of_library in setters:
                set_threads_of_library(1)


def has_blas_threads() -> bool:
    """Whether there is more than one for a product."""
    return bool(_blas_setters()) and workers().count > 1


@cache
def _blas_setters() -> list[Callable[[int], Any]]:
    return [_setter(library) for library in _blas_libraries()]


def _setter(library: Any) -> Callable[[int], Any]:
    """What sets the number of threads of a BLAS.

    OpenBLAS's own function takes a quarter of the time of threadpoolctl's, which obeys only one thread of the process.
    """
    names = (name for name in SETTERS if hasattr(library.dynlib, name))
    setter: Callable[[int], Any] = getattr(library.dynlib, next(names, ""), library.set_num_threads)
    return setter


def _blas_libraries() -> list[Any]:
    """What controls each BLAS of this process, but for PyTorch's, which a benchmark loads."""
    from threadpoolctl import ThreadpoolController

    controllers = ThreadpoolController().lib_controllers
    return [one for one in controllers if one.user_api == "blas" and one.internal_api != "mkl"]
