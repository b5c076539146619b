"""Prints an apt source for the source packages of another Debian release, on the mirror that this machine uses.

Python 3.11 and its standard library only: install.sh runs it before anything is installed.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

APT = Path("/etc/apt")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def archives() -> Iterator[tuple[str, list[str], list[str], str]]:
    """URI, suites, components and keyring of each source of packages."""
    for path in sorted((APT / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
                uri, *_ = fields["URIs"].split()
                suites, components = fields["Suites"].split(), fields.get("Components", "").split()
                yield uri, suites, components, fields.get("Signed-By") or KEYRING
    for path in (APT / "sources.list", *sorted((APT / "sources.list.d").glob("*.list"))):
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            found = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
            if found:
                options = dict(o.split("=", 1) for o in (found[1] or "").split() if "=" in o)
                yield found[2], [found[3]], found[4].split(), options.get("signed-by", KEYRING)


def main() -> int:
    wanted = sys.argv[1]
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    for uri, suites, components, keyring in archives():
        if release and release[1] in suites and "main" in components:
            print(f"Types: deb-src\nURIs: {uri}\nSuites: {wanted}\nComponents: main\nSigned-By: {keyring}")  # noqa: T201
            return 0
    print("no apt source of this machine names Debian's main archive; add one to /etc/apt", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
