"""A project of one's own, and how its settings are found."""

from pathlib import Path

import pytest

from streamgauge.contract.load import load_contracts
from streamgauge.errors import UserError
from streamgauge.project.make import make_project
from streamgauge.project.settings_file import take_up_settings
from streamgauge.stack.layout import Layout
from streamgauge.stack.supervisor import environment


def test_the_example_is_a_right_contract(tmp_path: Path) -> None:
    make_project(tmp_path / "shop")
    (contract,) = load_contracts(tmp_path / "shop" / "contracts")
    assert (contract.stream, contract.topic, contract.event_time) == ("orders", "orders", "happened_at")


def test_settings_are_taken_up_in_the_project_and_below_it(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop"
    make_project(folder, base_port=31_000)
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    for place in (folder, below):
        found: dict[str, str] = {"STREAMGAUGE_BASE_PORT": "32000"}
        take_up_settings(place, found)
        assert found == {
            "STREAMGAUGE_CONTRACTS_DIR": str(folder / "contracts"),
            "STREAMGAUGE_INSTANCE": "my-shop",
            "STREAMGAUGE_BASE_PORT": "32000",
        }
    outside: dict[str, str] = {}
    take_up_settings(tmp_path, outside)
    assert not outside


def test_what_is_no_setting_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "streamgauge.env").write_text("PATH=/nowhere\nSTREAMGAUGE_LOG_LEVEL=DEBUG\nSTREAMGAUGE_LAKE_URL\n")
    found: dict[str, str] = {}
    take_up_settings(tmp_path, found)
    assert found == {"STREAMGAUGE_LOG_LEVEL": "DEBUG"}


def test_nobodys_work_is_overwritten(tmp_path: Path) -> None:
    make_project(tmp_path)
    contract = tmp_path / "contracts" / "orders.yaml"
    contract.write_text("mine")
    with pytest.raises(UserError, match="there already"):
        make_project(tmp_path)
    assert contract.read_text() == "mine"


def test_what_the_stack_starts_elsewhere_finds_the_same_contracts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", "contracts")
    found = environment(Layout("shop", tmp_path / "data", 20_000))
    assert found["STREAMGAUGE_CONTRACTS_DIR"] == str(tmp_path / "contracts")
