"""Answers that a test orders: errors, throttling, answers that are lost or late."""

import base64
import json
import select
import socket
import threading
import time

ACCOUNT = "123456789012"


class Faults:
    """The rules of a test, the oldest first."""

    def __init__(self):
        self.rules = []
        self.lock = threading.Lock()

    def add(self, rules):
        with self.lock:
            self.rules += [Rule(**rule) for rule in rules]

    def of(self, call):
        """Returns the rule for a call, which has been used once more."""
        with self.lock:
            return next((rule for rule in self.rules if rule.takes(call)), None)


class Rule:
    def __init__(
        self,
        action,
        do,
        region=None,
        where=None,
        times=1,
        skip=0,
        code="InternalError",
        message="An internal error has occurred",
        status=400,
        seconds=0,
        after=False,
        body="",
    ):
        self.action, self.do, self.region = action, do, region
        # Parameters that the call has to have.
        self.where = where or {}
        self.times, self.skip = times, skip
        self.code, self.message, self.status = code, message, status
        self.seconds, self.after, self.body = seconds, after, body
        assert do in ("error", "throttle", "lose", "delay", "deny", "reject", "replace"), do

    def takes(self, call):
        """Tells whether this call is the rule's; `*` is every action."""
        named = self.action in ("*", call.action) and self.region in (None, call.region)
        if not named or self.times == 0 or any(call.params.get(name) != value for name, value in self.where.items()):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True

    @property
    def carries_out(self):
        return self.do in ("lose", "delay")

    @property
    def loses(self):
        return self.do == "lose"

    def before(self, environ):
        """Holds the request back; of a client that is gone by then it never came."""
        if self.do != "delay" or self.after:
            return
        until = time.monotonic() + self.seconds
        while (left := until - time.monotonic()) > 0:
            client = environ["werkzeug.socket"]
            readable, _, _ = select.select([client], [], [], left)
            if readable and client.recv(1, socket.MSG_PEEK) == b"":
                raise ConnectionResetError("the client is gone")

    def after_it(self):
        """Holds the answer back, of what is done already."""
        if self.do == "delay" and self.after:
            time.sleep(self.seconds)

    def answer(self, call):
        match self.do:
            case "error":
                return call.error(self.status, self.code, self.message)
            case "throttle":
                code = "RequestLimitExceeded" if call.form == "ec2" else "Throttling"
                return call.error(503 if call.form == "ec2" else 400, code, "Request limit exceeded.")
            case "deny":
                return denied(call)
            case "reject":
                code, status, message = REJECTED[call.form]
                return call.error(status, code, message)
            case "replace":
                kind = "application/x-amz-json-1.1" if call.form == "json" else "text/xml;charset=UTF-8"
                body = self.body if isinstance(self.body, str) else json.dumps(self.body)
                return self.status if self.status != 400 else 200, [("Content-Type", kind)], body.encode()


#: What credentials that AWS does not know are answered with.
REJECTED = {
    "ec2": ("AuthFailure", 401, "AWS was not able to validate the provided access credentials"),
    "xml": ("InvalidClientTokenId", 403, "The security token included in the request is invalid."),
    "json": ("UnrecognizedClientException", 400, "The security token included in the request is invalid."),
}


def denied(call):
    """Returns the error of an action that the caller's policies do not allow."""
    who = f"arn:aws:iam::{ACCOUNT}:user/tester"
    name = f"{call.service}:{call.action}"
    why = f"User: {who} is not authorized to perform: {name} on resource: *"
    because = f"because no identity-based policy allows the {name} action"
    if call.form == "json":
        return call.error(400, "AccessDeniedException", f"{why} {because}")
    if call.form == "xml":
        return call.error(403, "AccessDenied", f"{why} {because}")
    context = {"allowed": False, "explicitDeny": False, "context": {"principal": {"arn": who}, "action": name, "resource": "*"}}
    encoded = base64.urlsafe_b64encode(json.dumps(context).encode()).decode()
    message = f"You are not authorized to perform this operation. {why} {because}. Encoded authorization failure message: {encoded}"
    return call.error(403, "UnauthorizedOperation", message)


def drop(environ):
    """Cuts the client off without a word."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("the answer is lost, as the test wants")
