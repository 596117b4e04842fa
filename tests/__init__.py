"""Tests; a package, as the SageMaker SDK installs one of this name, which would come first otherwise."""
