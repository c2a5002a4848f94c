# A worker of the fleet, or the server's machine; docs/fleet.md says how both are started.
#
#   docker build -t dreamline .
#   docker run -e PREFECT_API_URL=http://server:4200/api -v rex:/fleet dreamline
#
# The image holds packages and no fleet: /fleet is a clone of the fleet's repository, a volume that outlives the container
# (its DVC cache and checkpoints with it).
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 dreamline \
 && install -d -o dreamline /fleet

WORKDIR /opt/dreamline
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps -r requirements.lock

COPY pyproject.toml README.md ./
COPY flows flows
COPY tasks tasks
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

USER dreamline
WORKDIR /fleet
# flows and tasks of the clone come first, so that new code needs no new image
ENV PYTHONPATH=/fleet \
    DREAMLINE_PROJECT=/fleet \
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 \
    DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1

# the worker's own page says whether it still polls
HEALTHCHECK --interval=60s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]

CMD ["prefect", "worker", "start", "--pool", "dreamline", "--type", "process", "--limit", "1", "--with-healthcheck", \
     "--work-queue", "interactive", "--work-queue", "nightly"]
