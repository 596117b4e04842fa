"""Framefleet: frames out of many videos, on many hosts.

In a clone, the folders and files beside this one are links to those at the top: a module is ``framefleet.*``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from framefleet.launcher.sagemaker.sdk import processor as processor

__version__ = "0.1.0"

PACKAGE: Final = Path(__file__).resolve().parent
# where Python finds this package: the working folder of processes that run it
IMPORT_ROOT: Final = PACKAGE.parent


def __getattr__(name: str) -> Any:
    """``framefleet.processor``, a job for notebooks and pipelines: loaded when it is asked for."""
    if name == "processor":
        from framefleet.launcher.sagemaker.sdk import processor

        return processor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
