# The one image of every host: locally with compose, on SageMaker Processing as it is.
#   docker build --platform linux/amd64 --tag framefleet .
# Where no registry can be reached, docker/make-base.sh makes another BASE_IMAGE.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM --platform=linux/amd64 ${BASE_IMAGE}

# Wheels only: nothing is compiled, and no compiler is there. What they hold beyond what a host needs goes in the layer
# that brought it, 150 MB of it: Arrow's Flight, S3 client, headers and second copies, OpenCV's face models, botocore's
# descriptions of 400 services, pygments' of 500 languages, numpy's tests.
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --only-binary=:all: --require-hashes --requirement /tmp/requirements.txt \
    && cd "$(python -c 'import os, cv2; print(os.path.dirname(os.path.dirname(cv2.__file__)))')" \
    && (cd pyarrow && rm -rf *arrow*_flight* _flight* *arrow_s3* _s3fs* libarrow_python*.so libarrow_python*.so.*.*.* \
        include src tests) \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name 'sso*' ! -name sagemaker ! -name logs -exec rm -r {} + \
    && find numpy -type d -name tests -prune -exec rm -r {} + \
    && rm -rf cv2/data pygments/lexers

# A user of the launcher's number, whom no file of the image knows, needs no home.
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/framefleet HOME=/tmp
WORKDIR /framefleet
COPY framefleet/*.py framefleet/
COPY common framefleet/common
COPY coordinator framefleet/coordinator
COPY worker framefleet/worker
COPY launcher framefleet/launcher
# Compiled beforehand: at a quarter of a CPU a host would spend seconds on it at each start.
RUN python -m compileall -q .

ENTRYPOINT ["python", "-m", "framefleet.worker"]
