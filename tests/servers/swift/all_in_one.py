"""All four servers of OpenStack Swift in one process, on loopback.

Runs under the distribution's /usr/bin/python3, for which Debian packages Swift:
all_in_one.py DIRECTORY SERVER=HOST:PORT… with SERVER one of account, container, object, proxy;
DIRECTORY holds SERVER.conf and swift.conf. Makes the rings, then says "ready" on stdout.
"""

import logging
import sys

import eventlet

eventlet.monkey_patch()

import eventlet.wsgi  # noqa: E402
from swift.common import utils, wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

PARTITION_POWER = 4


class Discard:
    """A log file for lines that nobody needs: one per request."""

    def write(self, *_args):
        pass

    def flush(self):
        pass


def log_to_stderr(_conf, _name, _to_console, _route, _format, logger, _adapted):
    """Named in the configuration as log_custom_handlers; there is no syslog to send to."""
    if not any(type(handler) is logging.StreamHandler for handler in logger.handlers):
        logger.addHandler(logging.StreamHandler(sys.stderr))


def make_ring(directory, server, host, port):
    """A ring of one device holding the only replica."""
    builder = RingBuilder(PARTITION_POWER, 1, 0)
    device = {"region": 1, "zone": 1, "ip": host, "port": port, "device": "d1", "weight": 1.0}
    device.update(replication_ip=host, replication_port=port, meta="")
    builder.add_dev(device)
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{server}.ring.gz")


def main(directory, *servers):
    addresses = []
    for argument in servers:
        server, _, address = argument.partition("=")
        host, _, port = address.rpartition(":")
        addresses.append((server, host, int(port)))
    for server, host, port in addresses:
        if server != "proxy":
            make_ring(directory, server, host, port)
    utils.set_swift_dir(directory)
    threads = []
    for server, host, port in addresses:
        app = wsgi.loadapp(f"{directory}/{server}.conf")
        sock = eventlet.listen((host, port), backlog=256)
        options = {
            "protocol": SwiftHttpProtocol,
            "debug": False,
            "capitalize_response_headers": False,
        }
        threads.append(eventlet.spawn(eventlet.wsgi.server, sock, app, Discard(), **options))
    print("ready", flush=True)
    threads[-1].wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
