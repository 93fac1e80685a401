"""HTTP/1.1 (RFC 9110, RFC 9112) over any stream of bytes, for the TTP's and the roles' few words.

h11 keeps the protocol; this room gives it a stream, limits that are checked before memory is spent,
and time-outs. It knows nothing of what is said: EST and CRLs are the business of the rooms above.
The half that serves is in `http.server`, for which no client shall wait.
"""

from asynctls.http.client import FetchLimits, fetch
from asynctls.http.messages import Request, Response, Stream

__all__ = ["FetchLimits", "Request", "Response", "Stream", "fetch"]
