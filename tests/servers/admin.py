"""A plain HTTP endpoint on loopback through which tests steer and inspect a server."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Route = Callable[[dict[str, str], Any], Any]


class AdminServer:
    """Serves {"GET /path": function(query, body) -> JSON value} until stop().

    A ValueError or KeyError of the function answers 400 with its text, an unknown route 404.
    """

    def __init__(self, routes: dict[str, Route], port: int = 0):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                url = urlsplit(self.path)
                size = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(size)
                status, value = 200, None
                route = routes.get(f"{self.command} {url.path}")
                try:
                    if route is None:
                        status, value = 404, {"error": f"know {', '.join(sorted(routes))}"}
                    else:
                        body = json.loads(raw) if raw else None
                        value = route(dict(parse_qsl(url.query)), body)
                except (ValueError, KeyError) as error:
                    status, value = 400, {"error": str(error)}
                answer = json.dumps(value).encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
