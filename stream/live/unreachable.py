"""Why a server that something is sent to does not take it, in words that help."""

from __future__ import annotations

import ssl
import urllib.error

from stream.live.address import Address
from stream.live.outbox import Unsent

_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
"""OpenSSL's numbers for a certificate that nobody known has signed; others are out of date or somebody else's."""


def unreachable(address: Address, error: Exception) -> Unsent:
    """What to raise for an error of a connection.

    Example:
        >>> raise unreachable(address, ConnectionRefusedError(111, "Connection refused"))       # doctest: +SKIP
        Unsent: https://10.0.0.9/hook cannot be reached: Connection refused
    """
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        words = cause.verify_message.rstrip(".")
        cure = "; name the file of the authority that signed it in the variable SSL_CERT_FILE"
        return Unsent(
            f"{address.shown} shows a certificate that is not trusted: {words}"
            f"{cure if cause.verify_code in _UNKNOWN_AUTHORITY else ''}"
        )
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return Unsent(f"{address.shown} cannot be talked to by TLS: {cause.reason.replace('_', ' ').lower()}")
    words = str(getattr(cause, "strerror", None) or cause)
    return Unsent(f"{address.shown} cannot be reached: {address.clean(words)}")
