"""The certificate layer: keys, names, requests, profiles, CRLs and OCSP, as pure values (RFC 5280).

Nothing here reads a file, a socket or a clock; what is slow has a coroutine beside it.
"""
