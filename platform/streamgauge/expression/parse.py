"""From an expression's text to a syntax tree."""

from typing import Any

MAX_CHARACTERS = 2000
"""What is longer nests deeper than the parser, which calls itself, can go."""


class ExpressionError(ValueError):
    """What is wrong with an expression, in words for whoever wrote it."""


def parse(text: str) -> Any:
    """Raises ExpressionError."""
    # most contracts have no expression, and the parser is slow to import
    import sqlglot
    from sqlglot import expressions
    from sqlglot.errors import ParseError, SqlglotError

    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"has {len(text)} characters, and {MAX_CHARACTERS} are allowed; make two of it")
    if not text.strip():
        raise ExpressionError("is empty")
    if "\0" in text:
        raise ExpressionError("holds a NUL character, which no text here may have")
    try:
        return sqlglot.parse_one(text, into=expressions.Condition)
    except ParseError as e:
        raise ExpressionError(f"can't be read as an expression{_where(e.errors)}") from e
    except (SqlglotError, RecursionError) as e:
        raise ExpressionError("can't be read as an expression") from e


def names(text: str) -> frozenset[str]:
    """The fields and derived fields that it names; none where it can't be read."""
    from sqlglot.expressions import Column

    try:
        return frozenset(column.name for column in parse(text).find_all(Column) if not column.table)
    except ExpressionError:
        return frozenset()


def _where(errors: list[dict[str, Any]]) -> str:
    at = next((e for e in errors if e.get("col")), None)
    return "" if at is None else f': it goes wrong at "{at["highlight"]}", character {at["col"]}'
