"""Session Manager's sessions, of which moto knows nothing."""

import uuid

from moto.core.responses import ActionResult
from moto.ssm.responses import SimpleSystemManagerResponse

from patch import added

#: The sessions that go on, by their ids.
SESSIONS = {}


def reset():
    SESSIONS.clear()


@added(SimpleSystemManagerResponse)
def start_session(self):
    id = f"tester-{uuid.uuid4().hex[:17]}"
    target, reason = self._get_param("Target"), self._get_param("Reason")
    SESSIONS[id] = {"SessionId": id, "Target": target, "Reason": reason, "Status": "Connected", "region": self.region}
    url = f"wss://ssmmessages.{self.region}.amazonaws.com/v1/data-channel/{id}"
    return ActionResult({"SessionId": id, "TokenValue": f"token-of-{id}", "StreamUrl": url})


@added(SimpleSystemManagerResponse)
def terminate_session(self):
    id = self._get_param("SessionId")
    SESSIONS.pop(id, None)
    return ActionResult({"SessionId": id})


@added(SimpleSystemManagerResponse)
def describe_sessions(self):
    here = [session for session in SESSIONS.values() if session["region"] == self.region]
    return ActionResult({"Sessions": here if self._get_param("State") == "Active" else []})
