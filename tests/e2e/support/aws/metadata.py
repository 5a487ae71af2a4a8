"""The metadata service of the instance that a test plays: its version 2, which wants a token."""

import json

TOKEN = "AQAAAExample=="

#: What the instance is told of itself; none where there is no service.
HERE = {}


def answer(environ):
    """Returns status, headers and body of what is asked."""
    if not HERE:
        return "404 Not Found", [], b""
    if environ["PATH_INFO"] == "/latest/api/token":
        seconds = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS")
        if environ["REQUEST_METHOD"] != "PUT" or seconds is None:
            return "400 Bad Request", [], b""
        return "200 OK", [("x-aws-ec2-metadata-token-ttl-seconds", seconds)], TOKEN.encode()
    if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != TOKEN:
        return "401 Unauthorized", [], b""
    if environ["PATH_INFO"] == "/latest/dynamic/instance-identity/document":
        return "200 OK", [("Content-Type", "text/plain")], json.dumps(HERE).encode()
    return "404 Not Found", [], b""
