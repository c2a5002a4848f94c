"""A Prefect API that lives as long as its parent: `python -m flows.prefect_server`.

It ends when its standard input closes, so also when the parent is killed with -9: nothing is left behind. It
listens on a free loopback port, which it prints, and keeps its runs in the SQLite file of PREFECT_HOME, where
`dreamline ui` finds them later.
"""

import os
import socket
import sys
import threading

ENVIRONMENT = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # the services that record runs, not those that schedule them
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "DO_NOT_TRACK": "1",
}


def main() -> None:
    """Serve until standard input closes, then write out what is pending and end."""
    os.environ.update(ENVIRONMENT)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    import uvicorn

    application = "prefect.server.api.server:create_app"
    server = uvicorn.Server(
        uvicorn.Config(
            application, factory=True, lifespan="on", log_level="error", timeout_graceful_shutdown=5
        )
    )

    def watch() -> None:
        sys.stdin.buffer.read()
        if not server.started:
            os._exit(0)  # nothing has been promised yet, and starting may take long on a busy machine
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
