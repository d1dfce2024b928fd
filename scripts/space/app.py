"""Start the demo in this folder, which holds all that it needs: `pip install -r requirements.txt && python app.py`.

On a Space, Gradio says in its environment variables where to listen; elsewhere --host and --port do.
"""

import hashlib
import json
import os
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    space = json.loads((FOLDER / "space.json").read_text(encoding="utf-8"))
    reason = what_is_wrong(space)
    if reason:
        print(f"error: {space['weights']} {reason}", file=sys.stderr)
        sys.exit(2)
    app = FOLDER / space["project"] / "app.py"
    sys.argv = [str(app), "--run", space["run"], *where(), *sys.argv[1:]]
    runpy.run_path(str(app), run_name="__main__")


def what_is_wrong(space: dict[str, str]) -> str:
    """Why the weights are not those that were exported; "" when they are."""
    try:
        content = (FOLDER / space["weights"]).read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if content.startswith(b"version https://git-lfs"):
        return "is only Git LFS's note of where it is: run `git lfs pull`"
    found = hashlib.sha256(content).hexdigest()
    if found == space["sha256"]:
        return ""
    return f"is not the file that was exported: its SHA-256 is {found}, not {space['sha256']}; export it again"


def where() -> list[str]:
    """The flags for where to listen that the surroundings ask for."""
    names = {"--host": "GRADIO_SERVER_NAME", "--port": "GRADIO_SERVER_PORT"}
    return [text for flag, name in names.items() if os.environ.get(name) for text in (flag, os.environ[name])]


if __name__ == "__main__":
    main()
