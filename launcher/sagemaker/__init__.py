"""The SageMaker target: one Processing job on N instances, from the request to the last frame.

Nothing of AWS is imported with this package: ``launch.py --help`` and local runs stay free of it.
Notebooks and pipelines begin with ``from framefleet.launcher.sagemaker import processor``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "processor":
        from framefleet.launcher.sagemaker.sdk import processor

        return processor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
