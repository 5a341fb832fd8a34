"""An artifact plugin for Argo, as a plugin's image would hold it: gRPC on a unix socket.

    python3 artifact_plugin.py SOCKET

Its store is the directory /store: the key is a path in it. What else it does is up to the artifact's
`configuration` (a JSON object, see Faults) and to PLUGIN_START (see main). Every call is a line of
/store/calls; signals are lines of /store/signals.

It needs grpc and google.protobuf, and nothing of this repository: it runs alone in its container.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

STORE = "/store"
SERVICE = "artifact.ArtifactService"
_TEXT, _INT32, _BOOL, _MESSAGE = 9, 5, 8, 11

# Message -> its fields in the order of their numbers; a type that is a text names a message.
MESSAGES = {
    "PluginArtifact": [
        ("name", _TEXT),
        ("configuration", _TEXT),
        ("connection_timeout_seconds", _INT32),
        ("key", _TEXT),
    ],
    "Artifact": [
        ("name", _TEXT),
        ("path", _TEXT),
        ("mode", _INT32),
        ("from", _TEXT),
        ("plugin", "PluginArtifact"),
        ("optional", _BOOL),
        ("sub_path", _TEXT),
        ("recurse_mode", _BOOL),
        ("from_expression", _TEXT),
        ("deleted", _BOOL),
    ],
    "LoadArtifactRequest": [("input_artifact", "Artifact"), ("path", _TEXT)],
    "SaveArtifactRequest": [("path", _TEXT), ("output_artifact", "Artifact")],
    "DeleteArtifactRequest": [("artifact", "Artifact")],
    "Response": [("success", _BOOL), ("error", _TEXT)],
}


def _messages() -> dict[str, type]:
    file = descriptor_pb2.FileDescriptorProto(
        name="artifact.proto", package="artifact", syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            entry = message.field.add(name=field, number=number, label=1)
            entry.type = _MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                entry.type_name = f".artifact.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {
        name: factory.GetPrototype(pool.FindMessageTypeByName(f"artifact.{name}"))
        for name in MESSAGES
    }


M = _messages()


def _note(file: str, text: str) -> None:
    with open(f"{STORE}/{file}", "a", encoding="utf-8") as out:
        out.write(text + "\n")


def _calls(method: str) -> int:
    try:
        with open(f"{STORE}/calls", encoding="utf-8") as lines:
            return sum(json.loads(line)["method"] == method for line in lines)
    except FileNotFoundError:
        return 0


def _misbehave(method: str, configuration: dict, context: grpc.ServicerContext):
    """What `configuration[method]` asks for, if anything: an answer, or no answer at all."""
    fault = configuration.get(method, "")
    if fault in grpc.StatusCode.__members__:
        context.abort(grpc.StatusCode[fault], configuration.get("text", "no such thing"))
    if fault == "unavailable once" and _calls(method) == 1:
        context.abort(grpc.StatusCode.UNAVAILABLE, "come again")
    if fault == "say no":
        return M["Response"](error=configuration.get("text", "the answer is no"))
    if fault == "hang":
        threading.Event().wait()
    if fault == "die":
        os._exit(5)
    if fault == "nothing":
        return M["Response"](success=True)
    if fault in ("malformed", "length"):
        return b"\xff\xff\xff" if fault == "malformed" else b"\x12\xff\xff\xff\xff\x0fx"
    return None


def _copy(source: str, target: str) -> None:
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)


def _remove(place: str) -> None:
    if os.path.isdir(place):
        shutil.rmtree(place)
    else:
        os.unlink(place)


def _serve(method: str, request, artifact, context: grpc.ServicerContext):
    path = getattr(request, "path", "")
    call = {
        "method": method,
        "path": path,
        "artifact": json_format.MessageToDict(artifact),
        "is_directory": os.path.isdir(path),
        "mode": stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0,
    }
    _note("calls", json.dumps(call))
    configuration = json.loads(artifact.plugin.configuration or "{}")
    answer = _misbehave(method, configuration, context)
    if answer is not None:
        return answer
    place = f"{STORE}/{artifact.plugin.key}"
    if method == "Save":
        _copy(request.path, place)
    elif method == "Delete" and os.path.exists(place):
        _remove(place)
    elif os.path.exists(place):
        _copy(place, request.path)
        if configuration.get("mode"):
            os.chmod(request.path, configuration["mode"])
    else:
        context.abort(grpc.StatusCode.NOT_FOUND, f"no object {artifact.plugin.key}")
    return M["Response"](success=True)


def _load(request, context: grpc.ServicerContext):
    return _serve("Load", request, request.input_artifact, context)


def _save(request, context: grpc.ServicerContext):
    return _serve("Save", request, request.output_artifact, context)


def _delete(request, context: grpc.ServicerContext):
    return _serve("Delete", request, request.artifact, context)


def _handler(function, request: str) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        function,
        request_deserializer=M[request].FromString,
        response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
    )


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    return listener


def _say_only(path: str, text: bytes) -> None:
    """Something that is no HTTP/2, to everybody."""
    listener = _listen(path)
    while True:
        connection, _ = listener.accept()
        connection.sendall(text)


def _serve_until_asked(path: str) -> None:
    handlers = {
        "Load": _handler(_load, "LoadArtifactRequest"),
        "Save": _handler(_save, "SaveArtifactRequest"),
        "Delete": _handler(_delete, "DeleteArtifactRequest"),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, handlers),)
    )
    server.add_insecure_port(f"unix:{path}")
    server.start()
    print(f"serving, umask {os.umask(0):o}", flush=True)
    signal.sigwait({signal.SIGTERM})
    _note("signals", "15")
    if os.environ.get("PLUGIN_START") == "stubborn":
        threading.Event().wait()
    os._exit(int(os.environ.get("PLUGIN_EXIT", "0")))


def main(path: str, start: str) -> None:
    """START: "" = serve; "late"; "stubborn" (SIGTERM does not end it); "die"; "garbage"; "never" (no
    socket), "stale" (a name with nobody behind it), "mute" (nobody says anything): until SIGUSR1."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    if start == "die":
        sys.exit(3)
    if start == "late":
        time.sleep(0.5)
    if start == "stale":
        _listen(path).close()
    unheard = [_listen(path)] if start == "mute" else []
    if start in ("never", "stale") or unheard:
        print("waiting", flush=True)
        signal.sigwait({signal.SIGUSR1})
    if start == "garbage":
        _say_only(path, b"220 mail.example.com ESMTP\r\n")
    if os.path.exists(path):
        os.unlink(path)
    _serve_until_asked(path)


if __name__ == "__main__":
    main(sys.argv[1], os.environ.get("PLUGIN_START", ""))
