"""The commands of this project: quickstart, run_tests, doctor and benchmark. Importing them needs Python 3.10."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python must get far enough to be told
    sys.stderr.write("error: Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "\n")
    sys.exit(2)
