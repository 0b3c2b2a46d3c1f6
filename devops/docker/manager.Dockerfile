# The manager, between database and broker. Build from the repository's root.
FROM python:3.11-slim-bookworm AS build
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
    CELLYARD_STATE_DIR=/var/lib/cellyard
USER 10001
CMD ["python", "-m", "mn_manager"]
