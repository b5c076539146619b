"""Derives github_actors.csv from github_events.jsonl.gz: what is known of each actor, for the reference table `actors`.

Run it in any folder: python examples/data/make_actors.py
"""

import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    owners: dict[str, Counter[str]] = defaultdict(Counter)
    with gzip.open(FOLDER / "github_events.jsonl.gz", "rt") as lines:
        for line in lines:
            event = json.loads(line)
            owners[event["actor_login"]][event["repo_name"].partition("/")[0]] += 1
    with (FOLDER / "github_actors.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("user_id", "kind", "organisation"))
        for login, counts in sorted(owners.items()):
            kind = "bot" if login.lower().endswith(("bot", "[bot]")) else "human"
            # most often, and of equals the first by name, so that the file is the same each time
            organisation = min(counts, key=lambda owner: (-counts[owner], owner))
            writer.writerow((login, kind, organisation))


if __name__ == "__main__":
    main()
