"""How everything that a person reads in a browser looks: the live page and the reports share these colours and sizes.

What is laid out with them belongs to the page and to the report; how numbers are written is in `streamgauge.text`.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
TOKENS = "tokens.css"


def tokens() -> str:
    """The style sheet that names them, for pages that must bring all along."""
    return (FOLDER / TOKENS).read_text()
