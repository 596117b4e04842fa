"""Framefleet: frames out of many videos, on many hosts.

In a clone, the folders and files beside this one are links to those at the top: a module is ``framefleet.*``.
"""

from pathlib import Path
from typing import Final

__version__ = "0.1.0"

PACKAGE: Final = Path(__file__).resolve().parent
IMPORT_ROOT: Final = (
    PACKAGE.parent
)  # where Python finds this package: the working folder of processes that run it
