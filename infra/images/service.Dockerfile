# The image of the service: one Bento, made by the pipeline, and what it needs of requirements.lock.
# Not by `bentoml containerize`, whose single-stage image contains compilers and git and checks no hashes. The Bento's
# path and the user are the same, so that the images are interchangeable. Only this one runs on a read-only root file
# system: it writes only to /scratch.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS packages
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY tasks/__init__.py tasks/errors.py tasks/serving/requirements.py tasks/
COPY infra/__init__.py infra/
COPY infra/images/__init__.py infra/images/requirements.py infra/images/trim.py infra/images/
COPY bento/src/requirements.txt bento-requirements.txt
RUN python -m infra.images.requirements service bento-requirements.txt > requirements.txt \
 && python -m venv /app/.venv \
 && /app/.venv/bin/python -m pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.txt \
 && /app/.venv/bin/python -m pip uninstall --quiet --yes pip setuptools \
 && python -m infra.images.trim /app/.venv

FROM ${BASE}
RUN groupadd --gid 1034 bentoml && useradd --uid 1034 --gid bentoml --create-home bentoml \
 && install -d -o bentoml -g bentoml /scratch /scratch/bentoml /scratch/tmp
COPY --from=packages /app/.venv /app/.venv
WORKDIR /home/bentoml/bento
COPY bento/ ./
# Kernels are compiled here for all of AWS's processors, instead of by each worker at its start; the packed model must
# predict its golden rows with them. Times in whole seconds, as layers store no more, so that the caches stay valid.
ARG CPU=x86-64-v3
ENV LD_LIBRARY_PATH=/app/.venv/lib NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES= NUMBA_CACHE_DIR=/scratch/numba
RUN find src -type f -exec touch -d 2000-01-01 {} + \
 && cd src && /app/.venv/bin/python -m compileall -q . \
 && /app/.venv/bin/python -c "from bentos.ctr.worker import Worker; it = Worker(); it.start(); assert it.is_ready, it.health(); it.stop()" \
 && chown -R bentoml:bentoml /scratch/numba
# The commit comes after everything large, so that other commits reuse those layers. It is written to a file first, because
# buildah caches LABEL and ENV by their text, without the value of an argument, until a step changes a file.
ARG COMMIT=unknown
ARG BENTO=unknown
RUN echo "${COMMIT}" > /etc/clicklab-commit
LABEL org.opencontainers.image.title="clicklab-service" org.opencontainers.image.revision="${COMMIT}" org.opencontainers.image.version="${BENTO}" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BENTO_PATH=/home/bentoml/bento BENTOML_HOME=/scratch/bentoml TMPDIR=/scratch/tmp BENTOML_CONTAINERIZED=true BENTOML_HOST=0.0.0.0 \
    BENTOML_DO_NOT_TRACK=True DO_NOT_TRACK=1
# It holds the kernels, as Numba uses no cache that it cannot write. Engines, and Fargate, initialize a volume with the
# image's files and owner at that path; declared last, because later steps could not change its content.
VOLUME ["/scratch"]
USER 1034:1034
EXPOSE 3000
# ECS uses the load balancer's check of the same address; this one is for images run by hand.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ.get(\"BENTOML_PORT\", 3000)}/readyz', timeout=4)"]
# No shell in between: the server is process 1 and stops its workers on SIGTERM.
CMD ["python", "-m", "bentoml", "serve", "/home/bentoml/bento"]
