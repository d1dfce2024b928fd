"""Measure a trained network on the test songs, which neither training nor any choice has used.

    python music_cuda/test_model.py                 # the newest run
    python music_cuda/test_model.py --run best      # a certain run

Prints a table and writes plots, report.json and model_card.md into the run's folder report/.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    from core.cli import command_line, main
    from core.data.sources import GTZAN
    from core.report.report import About, write_report
    from core.report.testing import all_notices, check_split
    from music_cuda.songs import load_songs
    from music_cuda.table import GENRES
    from music_cuda.trained import listen, load_listener
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

LIMITS = (
    "GTZAN has known faults: Sturm (arXiv:1306.1461) finds repeated, distorted and wrongly labelled clips, so that "
    "even a perfect listener would reach only about 94.5 %. Songs whose features are exactly equal were removed here; "
    "other versions of the same recording were not.",
    "Songs of one artist are among the training and the test songs alike (the table does not name artists), so the "
    "accuracy on unknown artists is lower.",
    "It knows 30 seconds of a song as 57 averages, of ten genres of popular music before 2002.",
)


@dataclass
class Settings:
    """Which weights to measure, and on which data."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    dataset: str = GTZAN.name
    """Prepared songs: the name of a folder in archive/, or the path of one."""


def test(settings: Settings) -> None:
    """Measure as `settings` say; the report goes to <run>/report."""
    listener = load_listener(settings.run)
    data = load_songs(settings.dataset, ("test",))
    check_split(listener, data.info)
    about = About(
        model=str(listener.architecture),
        dataset=GTZAN.title,
        origin=data.info["origin"],
        licence=data.info.get("licence", ""),
        citation=data.info.get("citation", ""),
        command=command_line(Path(__file__), settings),
        limits=LIMITS,
        weights=listener.weights,
        samples="songs",
    )
    notice = all_notices(listener.notice, data.info["notice"])
    folder = listener.weights.parent / "report"
    write_report(folder, data.labels, listen(listener, data.features), None, GENRES, notice, about)


if __name__ == "__main__":
    main(test, Settings, description=__doc__)
