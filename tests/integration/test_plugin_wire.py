"""Answers that a plugin's gRPC library would never give: each is an error that says what was wrong."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.test_plugin_init import INPUTS, SOCKET, load, one
from tests.room import ROOT, TERMINATION_LOG, in_room

SERVER = ["/usr/bin/python3", str(ROOT / "tests/servers/raw_plugin.py")]
GRPC = [["content-type", "application/grpc"]]
OK = [["grpc-status", "0"]]
SUCCESS = "0000000002" + "0801"

ANSWERS = {
    "the answer holds no message": [200, GRPC, "", OK, ""],
    "the answer holds no message ": [200, GRPC, "00000000", OK, ""],
    "the answer's message should have 4294967295 bytes and has 1": [200, GRPC, "00ffffffff08", OK, ""],
    "the answer's message should have 2 bytes and has 3": [200, GRPC, SUCCESS + "00", OK, ""],
    "the answer is compressed, unasked": [200, GRPC, "01" + SUCCESS[2:], OK, ""],
    "the answer is malformed": [200, GRPC, "000000000aff0000ffff0000ffffff", OK, ""],
    "the answer is larger than 4194304 bytes": [200, GRPC, "x4200000", OK, ""],
    "the server sent no grpc-status, and HTTP status 200": [200, GRPC, SUCCESS, [], ""],
    "code = Unknown desc = the server sent no grpc-status, and HTTP status 404": [404, [], "", None, ""],
    "the server sent no grpc-status, and HTTP status 200 ": [200, [["grpc-status", "x"]], "", None, ""],
    "code = NotFound desc = not ä 100%": [
        200, [*GRPC, ["grpc-status", "5"], ["grpc-message", "not %C3%A4 100%"]], "", None, ""
    ],
    "code = Unknown desc = ": [200, GRPC, "", [["grpc-status", "99999999999"]], ""],
    "code = DataLoss desc = ": [200, GRPC, SUCCESS, [["grpc-status", "15"]], ""],
    "HTTP/2 stream": [200, GRPC, SUCCESS, None, "reset"],
    "code = Internal desc = " + "y" * 1000: [
        200, GRPC, "", [["grpc-status", "13"], ["grpc-message", "y" * 8000]], ""
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", ANSWERS)
@in_room
def test_wrong_answers(text: str) -> None:
    result = load(one(), command=[*SERVER, json.dumps(ANSWERS[text]), SOCKET])
    assert result.returncode == 64, result.stderr.decode()
    assert "artifact a failed to load: plugin p load failed: " in TERMINATION_LOG.read_text()
    assert text.strip() in TERMINATION_LOG.read_text()
    assert os.listdir(INPUTS) == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@in_room
def test_somebody_in_between_is_busy(status: int) -> None:
    """A proxy says so without a gRPC status: it is asked again, until there is an answer."""
    answers = [[status, [], "", None, ""], [200, GRPC, SUCCESS, OK, ""]]
    log = load(one(), command=[*SERVER, json.dumps(answers), SOCKET]).stderr.decode()
    assert "nothing was loaded" in TERMINATION_LOG.read_text()
    (failed,) = [line for line in log.splitlines() if "Attempt failed" in line]
    assert "class=transient" in failed and "code=Unavailable" in failed


@in_room
def test_a_right_answer() -> None:
    """The same server can also tell the truth: that nothing was loaded is found out elsewhere."""
    load(one(), command=[*SERVER, json.dumps([200, GRPC, SUCCESS, OK, ""]), SOCKET])
    assert "nothing was loaded" in TERMINATION_LOG.read_text()
