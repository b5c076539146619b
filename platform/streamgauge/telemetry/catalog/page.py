"""The list as a page: `python -m streamgauge.telemetry.catalog.page > docs/telemetry.md`."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from streamgauge.markdown import code, table
from streamgauge.telemetry.catalog.log_fields import LOG_FIELDS
from streamgauge.telemetry.catalog.metrics import LIBRARIES, METRICS
from streamgauge.telemetry.catalog.model import SEMANTIC_CONVENTIONS, Attribute, Emitter
from streamgauge.telemetry.catalog.servers import SERVERS
from streamgauge.telemetry.catalog.spans import SPANS

_HEAD = f"""\
# Telemetry: every name

Made from `platform/streamgauge/telemetry/catalog`: change it there, then
`python -m streamgauge.telemetry.catalog.page > docs/telemetry.md`. [Observability](observability.md) says what the
names are for.

Names marked with * are those of OpenTelemetry's semantic conventions, version {SEMANTIC_CONVENTIONS}. A *stable* name
is renamed with a line in the changelog only, one in *development* at any time. Units are UCUM's: `s` seconds, `By`
bytes, `1` a ratio or a flag, `{{event}}` a count. In Prometheus dots become underscores, and the unit and the kind a
suffix."""


def page() -> str:
    parts = [
        _HEAD,
        "\n## Metrics",
        *table(
            ("metric", "kind", "unit", "attributes", "by", "stability", "meaning"),
            (
                (
                    code(m.name) + _mark(m.convention),
                    m.kind,
                    code(m.unit),
                    _names(m.attributes),
                    _by(m.emitters),
                    m.stability,
                    m.meaning,
                )
                for m in METRICS
            ),
        ),
        "\n## Metrics of libraries\nUnder the libraries' own names in Prometheus; they are as stable as the library.\n",
        *table(
            ("metric", "unit", "labels", "by", "meaning"),
            (
                (code(m.name), code(m.unit), ", ".join(map(code, m.labels)), _by(m.emitters), m.meaning)
                for m in LIBRARIES
            ),
        ),
        "\n## Metrics of servers\nFrom exporters that the local stack runs; Prometheus keeps these of their series.\n",
        *table(
            ("metric", "unit", "labels", "job", "meaning"),
            ((code(m.name), code(m.unit), ", ".join(map(code, m.labels)), _by(m.emitters), m.meaning) for m in SERVERS),
        ),
        "\n## Spans",
        *table(
            ("span", "kind", "attributes", "attributes of its links", "by", "meaning"),
            (
                (code(s.name), s.kind, _names(s.attributes), _names(s.link_attributes), s.emitter, s.meaning)
                for s in SPANS
            ),
        ),
        "\n## Attributes",
        *table(
            ("attribute", "stability", "meaning"),
            _attributes(),
        ),
        "\n## Log fields",
        *table(
            ("field", "by", "stability", "meaning"),
            ((code(f.name), _by(f.emitters), f.stability, f.meaning) for f in LOG_FIELDS),
        ),
    ]
    return "\n".join(parts) + "\n"


def _attributes() -> Iterator[tuple[str, str, str]]:
    """A row a meaning: one name may stand for several things."""
    found: dict[Attribute, list[str]] = {}
    for of in METRICS:
        for x in of.attributes:
            found.setdefault(x, []).append(of.name)
    for of in SPANS:
        for x in (*of.attributes, *of.link_attributes):
            found.setdefault(x, []).append(of.name)
    times = Counter(x.name for x in found)
    for x, names in sorted(found.items(), key=lambda item: item[0].name):
        of = f"Of {', '.join(map(code, names))}: " if times[x.name] > 1 else ""
        yield code(x.name) + _mark(x.convention), x.stability, of + x.meaning


def _mark(convention: bool) -> str:
    return "*" if convention else ""


def _names(attributes: Sequence[Attribute]) -> str:
    return ", ".join(code(x.name) for x in attributes)


def _by(emitters: Sequence[Emitter]) -> str:
    return ", ".join(emitters)


if __name__ == "__main__":
    sys.stdout.write(page())
