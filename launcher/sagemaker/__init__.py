"""The SageMaker target: one Processing job on N instances, from the request to the last frame.

Nothing of AWS is imported with this package: ``launch.py --help`` and local runs stay free of it.
"""
