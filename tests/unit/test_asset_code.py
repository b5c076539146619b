"""An asset's version follows from what decides its rows, and it links to its code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import code
from assets.code import code_version, with_links
from streamgauge.contract.load import load_contract
from streamgauge.dagster.names import CODE_REFERENCES
from streamgauge.settings import CHECKOUT

CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
SOURCE = '''"""What it is for."""


def double(n: int) -> int:
    """Twice as much."""
    return n * 2  # as told
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]
    file = tmp_path / "a_package" / "module.py"
    file.parent.mkdir()
    (file.parent / "__init__.py").touch()
    file.write_text(SOURCE)
    return file


def version(contract: Any = CONTRACT) -> str:
    code._code.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return code_version([contract], ["a_package"])


def test_code_that_does_something_else_is_another_version(package: Path) -> None:
    before = version()
    package.write_text(SOURCE.replace("n * 2", "n * 3"))
    assert version() != before


def test_words_and_layout_are_no_other_version(package: Path) -> None:
    before = version()
    package.write_text(SOURCE.replace("What it is for", "What else").replace("  # as told", "").replace("Twice", "2 x"))
    assert version() == before


@pytest.mark.usefixtures("package")
def test_a_contract_with_other_data_is_another_version_and_one_with_another_owner_is_not() -> None:
    before = version()
    assert before.startswith(f"{CONTRACT.version}-")
    assert version(replace(CONTRACT, owner="someone-else", freshness_ms=1)) == before
    assert version(replace(CONTRACT, star=CONTRACT.star[:-1])) != before


def test_an_asset_links_to_the_function_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset
    def thing() -> None: ...

    monkeypatch.setattr(code, "ROOT", CHECKOUT)
    (local,) = _references(with_links(dg.Definitions(assets=[thing])), thing.key)
    assert local.file_path == str(Path(__file__))
    monkeypatch.setenv("STREAMGAUGE_SOURCE_URL", "https://code.example/blob/main/")
    (linked,) = _references(with_links(dg.Definitions(assets=[thing])), thing.key)
    assert linked.url == f"https://code.example/blob/main/tests/unit/test_asset_code.py#L{local.line_number}"
    assert linked.label == "tests/unit/test_asset_code.py"


def _references(definitions: dg.Definitions, key: dg.AssetKey) -> Any:
    spec: Any = definitions.resolve_assets_def(key).specs_by_key[key]
    return spec.metadata[CODE_REFERENCES].code_references
