"""Says in one line what is missing before a virtual environment can be made; silent when all is there.

Run with any Python, so it keeps to syntax that old versions can read.
"""

import sys

# ruff: noqa: UP031, UP036
if sys.version_info < (3, 11):
    sys.exit(
        "SFTP Portal needs Python 3.11 or newer; this is %d.%d. Try: make run PYTHON=python3.12" % sys.version_info[:2]
    )
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit(
        "This Python cannot make virtual environments. On Debian or Ubuntu, install it with: "
        "apt-get install python%d.%d-venv" % sys.version_info[:2]
    )
