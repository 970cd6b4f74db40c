# The image of every task of the pipeline: the library, the notebooks and what they need of requirements.lock.
# `make image` builds it from the files of the commit. BASE may name a mirror, or a digest.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# ---- packages: pip stays in this stage, and each file is checked against its hash
FROM ${BASE} AS packages
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY tasks/__init__.py tasks/errors.py tasks/serving/requirements.py tasks/
COPY infra/__init__.py infra/
COPY infra/images/__init__.py infra/images/requirements.py infra/images/trim.py infra/images/
RUN python -m infra.images.requirements pipeline > requirements.txt \
 && python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.txt \
 && /opt/venv/bin/python -m pip uninstall --quiet --yes pip setuptools \
 && python -m infra.images.trim /opt/venv

# ---- what runs
FROM ${BASE}
RUN groupadd --gid 10001 clicklab && useradd --uid 10001 --gid clicklab --home-dir /scratch --create-home clicklab \
 && install -d -o clicklab -g clicklab /scratch/products /scratch/mlflow /scratch/mlflow/store /scratch/tmp
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY pyproject.toml requirements.lock pipeline.yaml env.yaml env.aws.yaml ./
COPY tasks/ tasks/
COPY notebooks/ notebooks/
COPY bentos/ bentos/
COPY infra/__init__.py infra/aws.py infra/
COPY infra/state_machine/ infra/state_machine/
COPY infra/container/ infra/container/
# Root owns the code; a run writes only below /scratch, which is its home as well.
RUN ln -s /scratch/products /scratch/mlflow . && python -m compileall -q tasks bentos infra
# The commit comes after everything large, so that other commits reuse those layers. It is written to a file first, because
# buildah caches LABEL and ENV by their text, without the value of an argument, until a step changes a file.
ARG COMMIT=unknown
RUN echo "${COMMIT}" > /etc/clicklab-commit
LABEL org.opencontainers.image.title="clicklab-pipeline" org.opencontainers.image.revision="${COMMIT}" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH LD_LIBRARY_PATH=/opt/venv/lib PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/scratch TMPDIR=/scratch/tmp NUMBA_CACHE_DIR=/scratch/numba MPLCONFIGDIR=/scratch/matplotlib BENTOML_HOME=/scratch/bentoml \
    BENTOML_DO_NOT_TRACK=True DO_NOT_TRACK=1 PLOOMBER_STATS_ENABLED=false GIT_PYTHON_REFRESH=quiet
# Nothing else is written: the root file system may be read-only. A volume here gets the folder's owner.
VOLUME ["/scratch"]
USER 10001:10001
# A task has no health check: it ends, and its exit code is its result.
HEALTHCHECK NONE
# No shell in between: Python is process 1 and receives SIGTERM. The state machine appends the task.
CMD ["python", "-m", "infra.container.attempt"]
