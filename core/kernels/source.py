"""The text of a `.cu` file with the project's own headers written into it."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
INCLUDE = re.compile(r'^#include "([\w./]+)"[^\n]*$', re.MULTILINE)


def flattened(path: Path) -> str:
    """The source as one text, so that a compiler needs no folders and CuPy's cache notices a changed header.

    Headers are looked for beside the file, then in `core/kernels`. Raises FileNotFoundError naming a missing one.
    """
    return _flattened(path, set())


def _flattened(path: Path, seen: set[Path]) -> str:
    def include(match: re.Match[str]) -> str:
        name = match[1]
        found = next((p for p in (path.parent / name, FOLDER / name) if p.exists()), None)
        if found is None:
            raise FileNotFoundError(f"{path.name} includes {name}, which is neither beside it nor in core/kernels")
        if found.resolve() in seen:
            return ""
        seen.add(found.resolve())
        after = path.read_text(encoding="utf-8")[: match.start()].count("\n") + 2
        return f'#line 1 "{name}"\n{_flattened(found, seen)}\n#line {after} "{path.name}"'

    return f'#line 1 "{path.name}"\n' + INCLUDE.sub(include, path.read_text(encoding="utf-8"))
