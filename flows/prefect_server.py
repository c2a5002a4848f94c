"""A Prefect API that lives as long as its parent: `python -m flows.prefect_server [port]`.

It ends when its standard input closes, so also when the parent is killed with -9: nothing is left behind. It
listens on loopback, and keeps its runs in the SQLite file of PREFECT_HOME, where `dreamline ui` finds them later, or
in the database that PREFECT_API_DATABASE_CONNECTION_URL names. With a port it is what `prefect server start` is, with
its page and its schedules, in a single process; without, it takes a free one, which it prints, and only records.
"""

import os
import signal
import socket
import sys

from flows.serving import lifeline

QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
RECORDS_ONLY = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # the services that record runs, not those that schedule them
    "PREFECT_SERVER_UI_ENABLED": "false",
}
BATCHED = {  # by default a transaction for each of a task's three states, a sixth of all that the server does
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "20",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


def main() -> None:
    """Serve until standard input closes, then write out what is pending and end."""
    port = int(sys.argv[1]) if sys.argv[1:] else 0
    os.environ.update(QUIET | ({"PREFECT__SERVER_FINAL": "1"} if port else RECORDS_ONLY))
    for key, value in BATCHED.items():
        os.environ.setdefault(key, value)
    # with the protocol named asyncio sends at once; else an answer of two parts waits 40 ms for the first's acknowledgement
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    print(listening.getsockname()[1], flush=True)

    import uvicorn

    application = "prefect.server.api.server:create_app"
    server = uvicorn.Server(
        uvicorn.Config(
            application, factory=True, lifespan="on", log_level="error", timeout_graceful_shutdown=5
        )
    )

    def end(*_: object) -> None:
        if not server.started:
            os._exit(0)  # nothing has been promised yet, and starting may take long on a busy machine
        server.should_exit = True

    lifeline.hold(end)
    signal.signal(signal.SIGTERM, end)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
