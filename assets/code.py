"""Where an asset's code stands and which version of it there is, for Dagster's pages."""

import ast
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg

from streamgauge.contract.fingerprint import AS_JSON, DATA
from streamgauge.contract.model import Contract
from streamgauge.dagster.names import CODE_REFERENCES
from streamgauge.settings import source_url

ROOT = Path(__file__).resolve().parents[1]
"""Of the packages, in a checkout and where they are installed."""


def code_version(contracts: Iterable[Contract], packages: Sequence[str]) -> str:
    """The contracts' versions with a hash of them and of the code: other data may come of another version, and Dagster
    marks what an older one made.
    """
    contracts = tuple(contracts)
    known = [AS_JSON.dump_json(c, include=set(DATA)) for c in contracts]
    digest = hashlib.sha256(b"\0".join([*known, *(_code(p).encode() for p in packages)])).hexdigest()
    return f"{'+'.join(dict.fromkeys(c.version for c in contracts))}-{digest[:12]}"


@cache
def _code(package: str) -> str:
    """Of a package or module, as far as it does something: comments, docstrings and layout are no new version."""
    found = find_spec(package)
    assert found is not None and found.origin is not None, package
    origin = Path(found.origin)
    files = [origin] if found.submodule_search_locations is None else sorted(origin.parent.glob("**/*.py"))
    return hashlib.sha256("".join(_meaning(f.read_text()) for f in files).encode()).hexdigest()


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_text(n)]
    return ast.dump(tree)


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def with_links(part: dg.Definitions) -> dg.Definitions:
    """Each asset links to the function that makes it: in the repository where STREAMGAUGE_SOURCE_URL says where that
    is, and otherwise to the file that was loaded.
    """
    assets: Any = dg.with_source_code_references(list(part.assets or ()))
    base = source_url()
    if base is not None:
        assets = [_in_repository(a, base) if isinstance(a, dg.AssetsDefinition) else a for a in assets]
    return dg.Definitions(
        assets=assets,
        asset_checks=part.asset_checks,
        jobs=part.jobs,
        schedules=part.schedules,
        sensors=part.sensors,
    )


def _in_repository(asset: dg.AssetsDefinition, base: str) -> dg.AssetsDefinition:
    def linked(spec: dg.AssetSpec) -> dg.AssetSpec:
        references: Any = spec.metadata[CODE_REFERENCES]
        value = dg.CodeReferencesMetadataValue(code_references=[_link(r, base) for r in references.code_references])
        return spec.replace_attributes(metadata={**spec.metadata, CODE_REFERENCES: value})  # pyright: ignore[reportUnknownMemberType]

    return asset.map_asset_specs(linked)


def _link(reference: Any, base: str) -> dg.UrlCodeReference:
    path = Path(reference.file_path).relative_to(ROOT)
    return dg.UrlCodeReference(url=f"{base.rstrip('/')}/{path}#L{reference.line_number}", label=str(path))
