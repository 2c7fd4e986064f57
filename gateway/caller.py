"""Who asks: a program on the node's own computer, which may tell the node what to do, or anybody else.

The gateway may be open to a whole network, and stands behind a proxy or beside a browser. So a request is the
operator's only where it came from this computer, to a name of this computer, through nobody else and from no web page.
"""

import ipaddress
from enum import Enum, auto

from aiohttp.web import Request

# What proxies add when they pass on somebody else's request (RFC 7239 and its forerunners; RFC 9110 for Via).
_FORWARDING_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


class Caller(Enum):
    OPERATOR = auto()
    ANYBODY = auto()


def identify(request: Request) -> Caller:
    headers = request.headers
    is_direct = "Origin" not in headers and not any(name in headers for name in _FORWARDING_HEADERS)
    is_local = _is_loopback(request.remote or "") and _is_own_name(headers.get("Host", ""))
    return Caller.OPERATOR if is_direct and is_local else Caller.ANYBODY


def _is_own_name(host_header: str) -> bool:
    name = host_header if host_header.endswith("]") else host_header.rsplit(":", 1)[0]
    name = name.removeprefix("[").removesuffix("]").lower()
    return name == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
