"""What the repository may hold: its fixed layout, no data, no weights, no place of any one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ("mlp_mnist", "cnn_mnist100", "rnn_doodles", "music_cuda", "emnist", "cifar")
PROJECT_FILES = ("README.md", "setup_data.py", "model.py", "training.py", "test_model.py", "app.py")
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "LICENSE",
    "README.md",
    "constraints.txt",
    "core",
    "pyproject.toml",
    "scripts",
    "tests",
    *PROJECTS,
}
LARGEST = 1024 * 1024  # bytes
DATA_OR_WEIGHTS = re.compile(
    r"\.(npy|npz|safetensors|pt|pth|ckpt|h5|hdf5|onnx|pkl|pickle|joblib|gz|tgz|zip|tar|bz2|xz|zst|7z|csv|tsv|parquet|ndjson|bin"
    r"|idx\d?|\w*-ubyte|wav|au|mp3|tfevents.*)$"
)
MACHINE_PLACE = re.compile(r"/(?:work|root|farm|home/\w+|Users/\w+)/|/tmp/[a-z]|\.\./shared|\b[A-Z]:\\Users")


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git clone")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()]


def test_the_top_level_is_fixed():
    assert {name.split("/")[0] for name in tracked()} - TOP_LEVEL == set()


def test_a_project_that_the_readme_offers_has_the_files_that_readers_look_for():
    offered = re.findall(r"^\| \[`(\w+)`\]", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert offered
    assert set(offered) <= set(PROJECTS)
    assert [f"{name}/{file}" for name in offered for file in PROJECT_FILES if not (ROOT / name / file).exists()] == []


def test_no_file_of_the_tests_hides_one_of_a_project():
    """Both folders are parts of one namespace package, such as mlp_mnist, and that of the tests comes first."""
    mine = {name.removeprefix("tests/") for name in tracked() if name.startswith("tests/")}
    assert mine & set(tracked()) == set()


def test_no_data_and_no_weights_are_tracked():
    assert [name for name in tracked() if DATA_OR_WEIGHTS.search(name)] == []


def test_no_large_file_is_tracked():
    assert [name for name in tracked() if (ROOT / name).stat().st_size > LARGEST] == []


def test_no_machine_is_named():
    found = []
    for name in tracked():
        if name.startswith(".ci/"):  # the one place that may know where it runs
            continue
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PLACE.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("line", ["cd /" + "work/main", "/" + "root/x", "open('/" + "tmp/a')", ".." + "/shared/data"])
def test_the_rule_catches(line):
    assert MACHINE_PLACE.search(line)


@pytest.mark.parametrize("page", ["README.md", *(f"{name}/README.md" for name in PROJECTS)])
def test_links_of_a_readme_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_the_example_in_the_readme_works(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(example, {})
    assert float(capsys.readouterr().out) < 1e-9


def test_constraints_are_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    form = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*( ; python_version (<|>=|==) '3\.\d+(\.\*)?')?")
    assert [line for line in pins if not form.fullmatch(line)] == []
    assert pins == sorted(pins, key=lambda line: (line.split("==")[0], line))


def test_constraints_pin_every_direct_requirement():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = set(re.findall(r'"([\w-]+)(?:\[\w+\])?>=', text.split("[project]")[1].split("[tool.")[0]))
    on_gpus_only = {"cupy-cuda12x", "cupy-cuda13x"}
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name.lower() for name in wanted} - on_gpus_only - pinned == set()
