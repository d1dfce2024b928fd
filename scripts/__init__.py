"""The commands of this project, one a file; importing them needs Python 3.10.

Their parts are in the packages beside them: `bench`, `gpu`, `onnx_export`, `space`, `start` and `visit`. What several
of them use is `environment`, `machine` and `projects`.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python must get far enough to be told
    sys.stderr.write("error: Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "\n")
    sys.exit(2)
