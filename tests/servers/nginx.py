"""nginx as the web server of an artifact: WebDAV for GET and PUT, with all that may stand in front.

    with Nginx(Path("/tmp/nginx")) as nginx:
        nginx.files / "a"                  # what http://…/a, /basic/a, … serve
        nginx.requests()                   # what was asked, oldest first

A request of a log line is written when its answer ends; requests() waits for that of the last one.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers import certs, ports
from tests.servers.proc import Process
from tests.servers.server import Server

USER, PASSWORD = "käthe", "p:ss wörd"

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format json escape=json '{{"method":"$request_method","uri":"$request_uri",'
        '"status":"$status","range":"$http_range","match":"$http_if_match",'
        '"encoding":"$http_accept_encoding","authorization":"$http_authorization",'
        '"length":"$http_content_length","transfer":"$http_transfer_encoding",'
        '"type":"$http_content_type","client":"$ssl_client_s_dn"}}';
    access_log {directory}/access.log json;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    lingering_close always;
    default_type application/octet-stream;
    gzip_types *;
    gzip_min_length 1;
    dav_methods PUT DELETE;
    create_full_put_path on;
    map $http_authorization $is_bearer {{ default 0; {bearer} 1; }}
    server {{
        listen 127.0.0.1:{port};
        root {directory}/files;
        location /basic/ {{
            auth_basic files;
            auth_basic_user_file {directory}/users;
            alias {directory}/files/;
        }}
        location /token/ {{
            if ($is_bearer = 0) {{ return 401; }}
            alias {directory}/files/;
        }}
        location /gzip/ {{ gzip on; alias {directory}/files/; }}
        location /stored/ {{ add_header Content-Encoding gzip; alias {directory}/files/; }}
        location /plain/ {{ etag off; max_ranges 0; alias {directory}/files/; }}
        location /to/301/ {{ return 301 http://127.0.0.1:{port}/f; }}
        location /to/302/ {{ return 302 /f; }}
        location /to/303/ {{ return 303 /f; }}
        location /to/307/ {{ return 307 http://localhost:{other_port}/f; }}
        location /to/308/ {{ return 308 /f; }}
        location /for-ever/ {{ return 302 $uri; }}
        location /say/403 {{ return 403; }}
        location /say/405 {{ return 405; }}
        location /say/410 {{ return 410; }}
    }}
    server {{
        listen 127.0.0.1:{other_port};
        root {directory}/files;
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_client_certificate {client_ca};
        ssl_verify_client optional;
        root {directory}/files;
        location /closed/ {{
            if ($ssl_client_verify != SUCCESS) {{ return 403; }}
            alias {directory}/files/;
        }}
    }}
}}
"""


class Nginx(Server):
    """Running from the constructor to stop(); `host`, `port` are those of the plain server."""

    token = "a-token"

    def __init__(self, directory: Path):
        self.files = directory / "files"
        self.files.mkdir(parents=True)
        self.host = "127.0.0.1"
        self.cert = certs.make(directory / "tls")
        self.client = certs.make(directory / "client", ca_name="clients")
        self._log = directory / "access.log"
        self.port, self.tls_port, self.other_port = ports.free_ports(3)
        digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
        users = f"{USER}:{{SHA}}{base64.b64encode(digest).decode()}\n"
        (directory / "users").write_text(users)
        text = CONFIGURATION.format(
            directory=directory,
            port=self.port,
            tls_port=self.tls_port,
            other_port=self.other_port,
            cert=self.cert.cert,
            key=self.cert.key,
            client_ca=self.client.ca,
            bearer=f'"Bearer {self.token}"',
        )
        (directory / "nginx.conf").write_text(text)
        if os.geteuid() == 0:  # its workers are nobody
            directory.chmod(0o755)
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        argv = [program, "-e", directory / "error.log", "-c", directory / "nginx.conf"]
        argv += ["-g", "user root;"] if os.geteuid() == 0 else []
        self._process = Process(argv, directory / "nginx.log")
        for port in (self.port, self.tls_port):
            self._process.wait_port(port)

    def requests(self) -> list[dict[str, str]]:
        """All so far: nginx answers one more request behind them."""
        count = len(self._lines())
        subprocess.run(["curl", "-s", f"{self.url}/mark", "-o", "/dev/null"], check=False)
        ports.wait_until(lambda: len(self._lines()) > count and self._is_marked(), "access log")
        return [line for line in self._lines() if line["uri"] != "/mark"]

    def _lines(self) -> list[dict[str, str]]:
        text = self._log.read_bytes().decode(errors="replace") if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _is_marked(self) -> bool:
        return self._lines()[-1]["uri"] == "/mark"

    def clear(self) -> None:
        self.requests()
        os.truncate(self._log, 0)

    def stop(self) -> None:
        self._process.stop()
