"""The AWS of the tests: moto's server in this process, behind a front that records, fails and delays calls.

Usage: server.py [PORT]. It prints `listening PORT`, and ends when its standard input does, so that it never outlives
the test that started it. What the tests ask of the front itself is under /rimg/ (see `control`).
"""

import io
import json
import logging
import os
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
# Three images a region, known by their ids, rather than moto's hundreds: a region is there at once.
os.environ["MOTO_AMIS_PATH"] = os.path.join(HERE, "images.json")
os.environ["MOTO_ENABLE_KEYPAIR_VALIDATION"] = "true"

from moto.core.base_backend import BackendDict  # noqa: E402
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402

import gaps_images  # noqa: E402
import gaps_instances  # noqa: E402
import gaps_sessions  # noqa: E402
import metadata  # noqa: E402
import slow  # noqa: E402
from call import Call  # noqa: E402
from faults import Faults, drop  # noqa: E402
from left import keys, left  # noqa: E402


class Front:
    """The WSGI application that clients talk to."""

    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)
        # moto's EC2 is not made for threads, and a repeated client token must wait for the first.
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        self.calls = []
        self.faults = Faults()
        # What was answered to a client token.
        self.tokens = {}

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ.get("PATH_INFO", "")
        if path.startswith("/rimg/"):
            answer = self.control(path.removeprefix("/rimg/"), body)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
            return [data]
        if path.startswith("/latest/"):
            status, headers, data = metadata.answer(environ)
            start_response(status, [*headers, ("Content-Length", str(len(data)))])
            return [data]
        call = Call.of(environ, body)
        if call is None:
            return self.moto(environ, start_response)
        self.calls.append(call)
        status, headers, data = self.answer(call, environ)
        call.status = status
        if not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("Content-Length", str(len(data)))]
        start_response(f"{status} {'OK' if status < 300 else 'Error'}", headers)
        return [data]

    def answer(self, call, environ):
        fault = self.faults.of(call)
        if fault is not None and not fault.carries_out:
            return fault.answer(call)
        if fault is not None:
            fault.before(environ)
        answer = self.carry_out(call, environ)
        call.status = answer[0]
        if fault is not None:
            fault.after_it()
        if fault is not None and fault.loses:
            call.status = 0
            drop(environ)
        return answer

    def carry_out(self, call, environ):
        with self.lock:
            if call.token is None:
                return self.ask(environ)
            key = (call.service, call.region, call.action, call.token)
            if key not in self.tokens:
                answer = self.ask(environ)
                if answer[0] == 200:
                    self.tokens[key] = (call.params, answer)
                return answer
            params, answer = self.tokens[key]
            if params != call.params:
                message = "The client token was used for a request with other parameters."
                return call.error(400, "IdempotentParameterMismatch", message)
            return answer

    def ask(self, environ):
        """Returns moto's answer."""
        told = {}

        def start_response(status, headers, exc_info=None):
            told["status"], told["headers"] = int(status.split(" ")[0]), headers

        data = b"".join(self.moto(environ, start_response))
        return told["status"], told["headers"], data

    def control(self, name, body):
        """Answers the tests themselves."""
        told = json.loads(body) if body and name != "console" else None
        match name:
            case "calls":
                return [call.shown() for call in self.calls]
            case "reset":
                with self.lock:
                    BackendDict.reset()
                slow.reset()
                gaps_instances.reset()
                gaps_sessions.reset()
                self.clear()
            case "rules":
                self.faults.add(told)
            case "slow":
                slow.order(told)
            case "here":
                metadata.HERE.clear()
                metadata.HERE.update(told)
            case "console":
                gaps_instances.SAID["console"] = body.decode()
            case "password":
                gaps_instances.SAID.update(told)
            case "end":
                with self.lock:
                    gaps_instances.end(told["instance_id"], told["state"], told["code"], told["message"])
            case "keys":
                return "".join(f"{key}\n" for key in keys())
            case "left":
                return left()
            case _:
                raise KeyError(name)
        return {}


class Handler(MotoRequestHandler):
    def log(self, kind, message, *args):
        """What was asked is in the list of calls."""


def main():
    server = make_server("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0, Front(), threaded=True, request_handler=Handler)
    server.daemon_threads = True
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    print(f"listening {server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


main()
