# The site. Build from the repository's root: docker build -f devops/docker/web.Dockerfile .
FROM python:3.11-slim-bookworm AS build
# mysqlclient has no Linux wheel: it is compiled here and only its result goes on.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config default-libmysqlclient-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/cellyard
COPY . .
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c requirements.txt -e '.[server,mysql]'

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home cellyard \
    && install -d -o cellyard /var/lib/cellyard
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/cellyard /srv/cellyard
WORKDIR /srv/cellyard
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CELLYARD_STATE_DIR=/var/lib/cellyard \
    CELLYARD_BIND=0.0.0.0 \
    CELLYARD_STATIC_HASHED=1 \
    CELLYARD_STATIC_ROOT=/srv/static
# The key is needed to read the settings and signs nothing here.
RUN CELLYARD_STATE_DIR=/tmp/state CELLYARD_SECRET_KEY=only-while-building python manage.py collectstatic --noinput
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["gunicorn"]
