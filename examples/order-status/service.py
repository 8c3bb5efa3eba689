"""A tiny order service for the agent of this folder: `python examples/order-status/service.py`.

    GET /orders/4711    {"order": {"number": "4711", "status": "on its way", "arrives": "tomorrow"}}

It prints what it was asked.  It listens on this machine only, needs no package, and ends with Ctrl-C.
"""

import argparse
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDERS = {
    "4711": {"status": "on its way", "arrives": "tomorrow"},
    "4712": {"status": "being packed", "arrives": "on Friday"},
    "4713": {"status": "delivered", "arrived": "on Monday"},
}
ANSWER_S = 0.4
"""How long it takes to look an order up."""


class Orders(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = 10
    """Seconds after which a client that sends nothing is given up."""

    def do_GET(self) -> None:
        """Answer with the order, or 404."""
        _, _, number = self.path.partition("/orders/")
        found = ORDERS.get(number)
        print(f"asked for {self.path}: {found['status'] if found else 'no such order'}", flush=True)
        time.sleep(ANSWER_S)
        answer = {"order": {"number": number, **found}} if found else {"error": "There is no order of this number."}
        self._send(200 if found else 404, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing more."""


def server(port: int) -> ThreadingHTTPServer:
    """The service, bound to a port of this machine; 0 takes a free one.  Raises OSError if it is taken."""
    return ThreadingHTTPServer(("127.0.0.1", port), Orders)


def main() -> int:
    """Serve until Ctrl-C and return the exit status."""
    parser = argparse.ArgumentParser(description="A tiny order service.")
    parser.add_argument("--port", type=int, default=8090)
    port = parser.parse_args().port
    try:
        service = server(port)
    except OSError as error:
        print(f"port {port} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    print(f"orders {', '.join(ORDERS)} at http://127.0.0.1:{service.server_port}/orders/4711", flush=True)
    try:
        service.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
