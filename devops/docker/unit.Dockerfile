# The agent of a cycler computer whose devices are reached by network, serial port or USB (pass the
# device files in). Build from the repository's root. It has no database driver and no Django.
FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --groups dialout cellyard \
    && install -d -o cellyard /var/lib/cellyard-unit /etc/cellyard
WORKDIR /srv/cellyard
COPY . .
RUN pip install --no-cache-dir -c requirements.txt -e '.[unit]'
ENV PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/cellyard-unit
CMD ["python", "-m", "cycler_unit", "--config", "/etc/cellyard/unit.yaml"]
