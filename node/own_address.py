"""Under which address other computers find this one, as far as it can tell. Nothing is sent to find out."""

import socket

_DOCUMENTATION_HOST = ("192.0.2.1", 9)
"""TEST-NET-1 (RFC 5737): stands for any computer far away. A datagram socket that is connected sends nothing; it only
learns which of its own addresses the system would use."""
_ANY_ADDRESS = ("0.0.0.0", "::")


def own_host(listen_host: str) -> str:
    """The host that a node which listens there should name to others."""
    if listen_host not in _ANY_ADDRESS:
        return listen_host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_DOCUMENTATION_HOST)
            return str(probe.getsockname()[0])
        except OSError:  # no network at all
            return "127.0.0.1"
