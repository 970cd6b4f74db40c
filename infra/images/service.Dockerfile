# The image of the service: one Bento, made by the pipeline, and what it needs of requirements.lock.
# Not by `bentoml containerize`, whose image has one stage with compilers and git in it and checks no hashes; the
# Bento's place and the user are the same, so that either image can be run in place of the other. Only this one runs on
# a root file system that cannot be written: all that it writes goes to /scratch.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS packages
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY tasks/__init__.py tasks/errors.py tasks/serving/requirements.py tasks/
COPY infra/__init__.py infra/
COPY infra/images/__init__.py infra/images/requirements.py infra/images/trim.py infra/images/
RUN python -m infra.images.requirements service > requirements.txt \
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
# Kernels are compiled here for what AWS's processors have in common, not anew by each worker that starts; the packed model has to
# predict its golden rows with them. Whole seconds, as layers keep no more, so that Python and Numba find their files again.
ARG CPU=x86-64-v3
ENV NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES= NUMBA_CACHE_DIR=/scratch/numba
RUN find src -type f -exec touch -d 2000-01-01 {} + \
 && cd src && /app/.venv/bin/python -m compileall -q . \
 && /app/.venv/bin/python -c "from bentos.ctr.worker import Worker; it = Worker(); it.start(); assert it.is_ready, it.health(); it.stop()" \
 && chown -R bentoml:bentoml /scratch/numba
# What differs by commit comes after all that is large, so that another commit finds it built. The step says so again, as
# buildah takes settings from its cache by their text, whatever the arguments are, until a step with files differs.
ARG COMMIT=unknown
ARG BENTO=unknown
RUN echo "${COMMIT}" > /etc/clicklab-commit
LABEL org.opencontainers.image.title="clicklab-service" org.opencontainers.image.revision="${COMMIT}" org.opencontainers.image.version="${BENTO}" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BENTO_PATH=/home/bentoml/bento BENTOML_HOME=/scratch/bentoml TMPDIR=/scratch/tmp BENTOML_CONTAINERIZED=true BENTOML_HOST=0.0.0.0 \
    BENTOML_DO_NOT_TRACK=True DO_NOT_TRACK=1
# The kernels lie in it, as Numba takes none from where it cannot write. Engines, and Fargate, fill a volume at this place
# with what the image has there, owner and all; last, because later steps would not change what is in it.
VOLUME ["/scratch"]
USER 1034:1034
EXPOSE 3000
# ECS asks the load balancer, which asks the same address; this is for those who run the image by hand.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ.get(\"BENTOML_PORT\", 3000)}/readyz', timeout=4)"]
# No shell in between: the server is process 1 and ends its workers at SIGTERM.
CMD ["python", "-m", "bentoml", "serve", "/home/bentoml/bento"]
