"""The report in a few lines, for Dagster's metadata."""

from quality.report.model import Report
from quality.report.page import clock
from streamgauge.text import number, share


def markdown(report: Report) -> str:
    books = report.books
    lines = [
        f"**{report.contract.stream}, {report.day}: {report.reading}**",
        "",
        f"{number(report.total('facts'))} facts, {number(report.total('duplicates'))} duplicates, "
        f"{number(report.total('quarantined'))} quarantined ({share(report.quarantined_share)}), "
        f"{sum(h.final for h in report.hours)} of {len(report.with_events)} hours final.",
        "",
        "| check | status | failing | of | expected | observed |",
        "|---|---|---:|---:|---|---|",
    ]
    for line in report.lines:
        hours = f" ({', '.join(map(clock, line.failed_hours[:4]))})" if line.failed_hours else ""
        lines.append(
            f"| {line.asset}: {line.check} | {line.status}{hours} | {number(line.failing)} | {number(line.denominator)}"
            f" | {_cell(line.shown.expected)} | {_cell(line.shown.observed)} |"
        )
    lines.append(
        f"| books | {books.status} | {number(books.failing)} | {number(books.denominator)} | {_cell(books.expected)}"
        f" | {_cell(books.observed)} |"
    )
    if report.quarantine:
        lines += ["", "| quarantined for | records | to send them again |", "|---|---:|---|"]
        lines += [
            f"| {_cell(q.rule)} | {number(q.count)} | `{q.commands(report.contract)[-1]}` |" for q in report.quarantine
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
