"""The user's door in a clone: ``python launch.py --instances 8 --fps 5``."""

import sys

from framefleet.launcher.text import missing

try:
    from framefleet.launcher.cli.main import start
except ModuleNotFoundError as error:
    sys.exit(f"Error: {missing(error)}")

if __name__ == "__main__":
    start()
