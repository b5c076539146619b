"""Where an HTTP request comes from: this machine, our own pages, or another site's page in somebody's browser."""

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_PROXY = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def from_this_machine(connection: HTTPConnection) -> bool:
    """From loopback, asked under a loopback name, and not handed on by a proxy that says so.

    The name matters: a web page elsewhere can have its own name resolved to 127.0.0.1, and the reader's browser
    would then ask us on its behalf. A proxy may say nothing and ask under a loopback name, and then this holds of all
    its callers: only where no proxy is may it stand for a login.
    """
    if any(h in connection.headers for h in _PROXY):
        return False
    return is_loopback(address(connection)) and is_loopback(_host_name(connection.headers.get("host", "")))


def address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else "-"


def is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_foreign(connection: HTTPConnection, own_url: str | None) -> bool:
    """Whether another site's page may have had a browser send this; `own_url` is where people find our pages.

    A link that leads to one of our pages is no such thing: the other site doesn't see what it shows. A client that is
    no browser sends neither `Origin` nor `Sec-Fetch-Site`, and no page can make a browser leave both out, save for
    plain GETs of browsers from before 2023: what changes something must not be a GET.
    """
    headers = connection.headers
    hosts = [h.lower() for h in headers.getlist("host")]
    if len(hosts) != 1 or not hosts[0]:
        return True
    own = {_netloc(own_url)} if own_url else set[str]()
    if not is_loopback(_host_name(hosts[0])) and _host_name(hosts[0]) not in map(_host_name, own):
        return True
    if any(_netloc(o) not in {hosts[0], *own} for o in headers.getlist("origin")):
        return True
    site = headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") and not _is_link(connection)


def _is_link(connection: HTTPConnection) -> bool:
    headers = connection.headers
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return opened and connection.scope.get("method") in ("GET", "HEAD")


def _netloc(url: str) -> str:
    """Empty where it has none, or is no URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
