# The image of the tracking server on AWS: MLflow, its PostgreSQL driver, and boto3 for the artifacts on S3.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS packages
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY tasks/__init__.py tasks/errors.py tasks/serving/requirements.py tasks/
COPY infra/__init__.py infra/
COPY infra/images/__init__.py infra/images/requirements.py infra/images/trim.py infra/images/
RUN python -m infra.images.requirements tracking > requirements.txt \
 && python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.txt \
 && /opt/venv/bin/python -m pip uninstall --quiet --yes pip setuptools \
 && python -m infra.images.trim /opt/venv
# The authorities that sign the certificates of RDS, which no public list has; without them the server refuses to connect to
# RDS. Empty (--build-arg RDS_CA=): for a build without internet, to be used with another database.
ARG RDS_CA=https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
RUN python -c "import sys, urllib.request as web; sys.argv[1] and web.urlretrieve(sys.argv[1], 'rds-ca.pem') or open('rds-ca.pem', 'w')" "${RDS_CA}"

FROM ${BASE}
RUN groupadd --gid 10001 mlflow && useradd --uid 10001 --gid mlflow --create-home mlflow \
 && install -d -o mlflow -g mlflow /scratch /scratch/tmp
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages --chmod=644 /build/rds-ca.pem /etc/rds-ca.pem
COPY infra/images/tracking_server.py /opt/tracking_server.py
WORKDIR /home/mlflow
# The commit comes after everything large, so that other commits reuse those layers. It is written to a file first, because
# buildah caches LABEL and ENV by their text, without the value of an argument, until a step changes a file.
ARG COMMIT=unknown
RUN echo "${COMMIT}" > /etc/clicklab-commit
LABEL org.opencontainers.image.title="clicklab-tracking" org.opencontainers.image.revision="${COMMIT}" org.opencontainers.image.licenses="Apache-2.0"
# Without MLflow's job runner, which nothing here uses: half the memory, and it stops in 2 s instead of 18 s.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DO_NOT_TRACK=1 GIT_PYTHON_REFRESH=quiet \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false TMPDIR=/scratch/tmp
# All that it writes besides its stores: artifacts in transit. A volume here gets the folder's owner.
VOLUME ["/scratch"]
USER 10001:10001
EXPOSE 5000
# ECS uses the load balancer's check of the server; this one is for images run by hand.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
# Database and artifact store come from the environment; the task definition has the same command.
CMD ["python", "/opt/tracking_server.py", "mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "2"]
