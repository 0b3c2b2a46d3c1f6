# Simulated supplies, for trying out an installation without hardware. Build from the repository's root.
FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home cellyard && install -d -o cellyard /etc/cellyard
WORKDIR /srv/cellyard
COPY . .
RUN pip install --no-cache-dir -c requirements.txt -e '.[unit]'
ENV PYTHONUNBUFFERED=1
USER 10001
EXPOSE 5025 5026
CMD ["python", "-m", "cycler_unit.simulators", "--config", "/etc/cellyard/bench.yaml"]
