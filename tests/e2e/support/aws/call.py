"""A call of AWS's API as it came, and the forms of AWS's errors."""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

SCOPE = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")


@dataclass
class Call:
    service: str
    action: str
    region: str
    params: dict
    #: Whose it says it is: the access key's id.
    by: str = ""
    token: str | None = None
    #: What was answered: nothing yet, 0 when the client was cut off.
    status: int | None = None
    #: EC2, the other services of XML, or those of JSON: each has errors of its own form.
    form: str = field(default="ec2")

    @staticmethod
    def of(environ, body):
        """Reads a request; none when it is no call of an action."""
        scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        by, region, service = scope.groups() if scope else ("", "us-east-1", "ec2")
        target = environ.get("HTTP_X_AMZ_TARGET")
        if target:
            params = json.loads(body or b"{}")
            return Call(service, target.split(".")[-1], region, params, by, params.get("ClientRequestToken"), form="json")
        params = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        params |= parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        action = params.pop("Action", None)
        if action is None:
            return None
        params.pop("Version", None)
        form = "ec2" if service == "ec2" else "xml"
        return Call(service, action, region, params, by, params.get("ClientToken"), form=form)

    def shown(self):
        return {
            "service": self.service,
            "action": self.action,
            "region": self.region,
            "params": self.params,
            "by": self.by,
            "token": self.token,
            "status": self.status,
        }

    def error(self, status, code, message):
        """Returns an error as this service answers it."""
        if self.form == "json":
            data = json.dumps({"__type": code, "message": message, "Message": message})
            return status, [("Content-Type", "application/x-amz-json-1.1")], data.encode()
        code, message = escape(code), escape(message)
        if self.form == "ec2":
            data = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                "<RequestID>6f2d0b0e-0000-4000-8000-000000000000</RequestID></Response>"
            )
        else:
            data = (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                "<RequestId>6f2d0b0e-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
            )
        return status, [("Content-Type", "text/xml;charset=UTF-8")], data.encode()
