"""How many cores there are to use, in a container too."""

from __future__ import annotations

import os

import pytest

from core import cores

V1 = "4:memory:/docker/7\n2:cpu,cpuacct:/docker/7\n"
ONE_AND_A_HALF = {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}
NO_LIMIT = {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}


def within(folder, files):
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("", {}, None),  # no Linux
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "400000 100000\n"}, 3.0),
        ("0::/host/7\n", {"cpu.max": "200000 100000\n"}, 2.0),  # a container that sees only its own group
        ("0::/../b\n", {"cpu.max": "200000 100000\n"}, 2.0),
        (V1, within("cpu", NO_LIMIT), None),
        (V1, within("cpu", ONE_AND_A_HALF), 1.5),
        (V1, within("cpu/docker/7", ONE_AND_A_HALF), 1.5),
        ("4:memory:/\n2:cpuset:/\n", within("cpu", ONE_AND_A_HALF), None),  # cpuset is another controller
    ],
)
def test_the_limit_of_a_container(groups, files, quota, tmp_path, monkeypatch):
    (tmp_path / "own").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    assert cores.cpu_quota() == quota


@pytest.mark.parametrize(("quota", "usable"), [(None, 4), (8.0, 4), (3.0, 3), (1.5, 2), (0.2, 1), (0.0, 1)])
def test_no_more_threads_than_there_is_time_for(quota, usable, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.usable_cores() == usable


def test_a_system_that_tells_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1
