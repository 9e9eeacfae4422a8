"""Print the greeting of a demo on its terminal, once its web server responds.

The demo starts this as a process of its own, because it becomes the supervisor itself, which cannot
wait for the web server. It ends with the supervisor, its parent, at the latest.
"""

import http.client
import os
import signal
import sys
import time

PATIENCE_S = 120
PAUSE_S = 0.2


def main(port: int, text: str) -> None:
    """Wait for the web server, then print the text; if it never responds, say where to look."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    for _turn in range(int(PATIENCE_S / PAUSE_S)):
        if os.getppid() != parent:
            return
        if answers(port):
            sys.stdout.write(text + "\n")
            return
        time.sleep(PAUSE_S)
    sys.stderr.write("The page does not answer yet: see log/web-1.log in the data folder.\n")


def answers(port: int) -> bool:
    """Whether the web server responds without a server error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.read())
