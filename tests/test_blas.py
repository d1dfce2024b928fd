"""BLAS has one thread for each worker, but for a product that borrows more."""

import os
import threading
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_info

from core import blas
from core.blas import has_blas_threads, limit_blas_threads, with_blas_threads
from core.workers import set_threads, workers


def blas_in_use():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_is_left_with_one_thread():
    set_threads(1)
    set_threads(2)  # a new pool, which knows of the libraries that other tests have brought
    assert blas_in_use() <= {1}


@pytest.mark.skipif(not blas_in_use(), reason="NumPy has another BLAS here")
def test_blas_threads_are_lent_for_one_call():
    seen = []
    limit_blas_threads()
    with_blas_threads(2, lambda *arguments: seen.append((arguments, max(blas_in_use()))), 7, 8)
    assert seen == [((7, 8), 2)]  # another library, which came later than the first loan, may keep its one
    assert blas_in_use() == {1}
    with pytest.raises(ZeroDivisionError):
        with_blas_threads(2, lambda: 1 / 0)
    assert blas_in_use() == {1}


def test_an_interrupt_while_threads_are_being_lent_leaves_none_behind(monkeypatch):
    counts = []

    def interrupted(count):
        if count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(blas, "_setters", lambda: [counts.append, interrupted])
    with pytest.raises(KeyboardInterrupt):
        with_blas_threads(2, print)
    assert counts == [2, 1]


@pytest.mark.parametrize("setters", [[], [print]])
def test_there_are_blas_threads_where_their_number_can_be_set(setters, monkeypatch):
    monkeypatch.setattr(blas, "_setters", lambda: setters)
    assert has_blas_threads() == bool(setters)


@pytest.mark.skipif(not blas_in_use(), reason="NumPy has another BLAS here")
def test_any_thread_can_limit_blas_threads():
    before, seen = workers().count, []

    def in_another_thread():
        limit_blas_threads()
        seen.append(blas_in_use())

    def limit_elsewhere():
        thread = threading.Thread(target=in_another_thread)
        thread.start()
        thread.join()

    set_threads(2)  # threadpoolctl obeys the first thread that has asked from then on
    with_blas_threads(2, limit_elsewhere)
    assert seen == [{1}]
    set_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_waits_for_who_has_blas_threads():
    started, release, order = threading.Event(), threading.Event(), []

    def make():
        started.set()
        release.wait(20)
        order.append("product")

    thread = threading.Thread(target=with_blas_threads, args=(2, make))
    thread.start()
    assert started.wait(20)
    threading.Timer(0.2, release.set).start()
    child = os.fork()
    if child == 0:
        with_blas_threads(2, lambda: os._exit(7))
    order.append("fork")
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert order == ["product", "fork"]


class Library:
    """Stands in for what threadpoolctl knows of a BLAS."""

    def __init__(self, *names):
        self.dynlib = SimpleNamespace(**{name: name for name in names})
        self.set_num_threads = "threadpoolctl's"


@pytest.mark.parametrize(
    "name",
    [
        "openblas_set_num_threads",
        "openblas_set_num_threads64_",
        "scipy_openblas_set_num_threads64_",
        "MKL_Set_Num_Threads",
    ],
)
def test_a_library_sets_its_number_of_threads_itself(name):
    assert blas._setter(Library("another", name)) == name
    assert blas._setter(Library("bli_thread_set_num_threads")) == "threadpoolctl's"
