"""Whether the server in this container answers: the image's health check, for runtimes without probes over HTTP.

The address is that of listen.http: the variable which sets it, or 127.0.0.1:8002. Exit code 0 where /healthz is good,
else 1.
"""

import http.client
import os
import sys

address = os.environ.get("MODELWARD__LISTEN__HTTP", "127.0.0.1:8002")
connection = http.client.HTTPConnection(address, timeout=2)
try:
    connection.request("GET", "/healthz")
    answer = connection.getresponse().status
except OSError as error:
    sys.exit(f"{address}: {error}")
sys.exit(0 if answer == http.client.OK else f"{address}: /healthz says {answer}")
