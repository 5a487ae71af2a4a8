"""Stands in for AWS's session-manager-plugin: takes its arguments, and carries the local port to this host's.

Usage: plugin.py FOLDER RESPONSE REGION StartSession PROFILE PARAMETERS [ENDPOINT]. What it is given goes to FOLDER/arguments,
a line of JSON each time it is started. While there is FOLDER/dies, it ends instead, with what stands in that; where that
begins with `once`, only the one that is running does.
"""

import json
import os
import pathlib
import socket
import sys
import threading

folder, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
with open(folder / "arguments", "a") as told:
    print(json.dumps(arguments), file=told)
if (folder / "dies").exists():
    print("Starting session with SessionId: " + json.loads(arguments[0])["SessionId"])
    sys.exit((folder / "dies").read_text())
parameters = json.loads(arguments[4])["Parameters"]
remote, local = int(parameters["portNumber"][0]), int(parameters["localPortNumber"][0])


def carry(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def serve(near):
    far = socket.create_connection(("127.0.0.1", remote))
    threading.Thread(target=carry, args=(near, far), daemon=True).start()
    carry(far, near)


def watch():
    """Ends in the middle of its work, when it is told to."""
    while not (folder / "dies").exists():
        threading.Event().wait(0.05)
    said = (folder / "dies").read_text()
    if said.startswith("once"):
        (folder / "dies").unlink()
    print(said, file=sys.stderr, flush=True)
    os._exit(1)


threading.Thread(target=watch, daemon=True).start()
listener = socket.create_server(("127.0.0.1", local))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
