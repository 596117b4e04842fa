"""The user's door in a clone: ``python launch.py --instances 8 --fps 5``."""

import sys

try:
    from framefleet.launcher.cli.main import start
except ModuleNotFoundError as error:
    remedy = "run `make demo`, or `pip install -e .` in a virtual environment (Python 3.11 or later)"
    sys.exit(f"Error: the Python package {error.name!r} is missing: {remedy}")

if __name__ == "__main__":
    start()
