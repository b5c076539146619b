"""Who has a login to which server: whoever has rights there."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from streamgauge.access.model import Access, Principal

Server: TypeAlias = Literal["kafka", "postgres", "redis", "monitoring"]

_HAS: Mapping[Server, Callable[[Principal], bool]] = {
    "kafka": lambda p: p.owner or bool(p.kafka),
    "postgres": lambda p: p.owner or bool(p.postgres or p.database or p.member_of),
    "redis": lambda p: p.owner or p.redis is not None,
    "monitoring": lambda p: bool(p.monitoring),
}


def logins(access: Access, server: Server) -> tuple[str, ...]:
    return tuple(name for name, principal in access.principals.items() if _HAS[server](principal))


def all_logins(access: Access) -> list[tuple[Server, str]]:
    return [(server, name) for server in _HAS for name in logins(access, server)]
