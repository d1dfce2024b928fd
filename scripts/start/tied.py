"""Run a Python script as Python itself would, but end it when standard input closes.

    python scripts/start/tied.py SCRIPT [FLAG ...]

Standard input is a pipe from whoever started this. The operating system closes it when they end, in whatever way: so
the script never outlives them, even where they were killed and could do nothing any more.
"""

import os
import runpy
import signal
import sys
import threading
import time

PATIENCE = 12.0  # seconds that the script has to end by itself


def main() -> None:
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _end_with_standard_input() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
