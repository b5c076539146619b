"""What a request to Dagster's web server would change, for the audit log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, GraphQLError, OperationDefinitionNode, OperationType, parse

GRAPHQL = "/graphql"
_LONGEST = 4000
"""Characters of variables that are kept: a backfill of many hours names each."""


@dataclass(frozen=True)
class Change:
    """`what`: the mutations' names, or a path. `variables`: as they were sent, where they are short."""

    what: str
    variables: Any = None


def change_of(path: str, body: bytes) -> Change | None:
    """Of a POST; None where it only asks, or is nothing that Dagster would understand."""
    if path != GRAPHQL:
        return Change(path)
    try:
        document: Any = json.loads(body)
        names = list(_mutations(document["query"], document.get("operationName")))
    except (ValueError, KeyError, TypeError, AttributeError, GraphQLError):
        return None
    if not names:
        return None
    variables = document.get("variables")
    return Change(", ".join(names), variables if len(json.dumps(variables)) <= _LONGEST else None)


def _mutations(query: str, operation: str | None) -> Iterable[str]:
    # most that the pages ask are queries, and long ones: they are not worth parsing
    if "mutation" not in query:
        return
    for definition in parse(query).definitions:
        if not isinstance(definition, OperationDefinitionNode) or definition.operation is not OperationType.MUTATION:
            continue
        if operation is None or (definition.name is not None and definition.name.value == operation):
            yield from (f.name.value for f in definition.selection_set.selections if isinstance(f, FieldNode))
