"""Learns how hard a question looks, from questions of which is known how a cheap and a dear model answered them.

  .venv/bin/python tools/train_tiers.py --data DIR

DIR is the folder that `./run bench routing` reads. Learned from routing/mmlu/*.csv and routing/gsm8k_responses.csv:
counts, and no words of theirs, go into src/tidegate/upstream/tiers/prior.json. The bench never scores what this file
was learned from: it learns the same again from the other set alone. For your own traffic: --rows FILE, JSON lines of
{"source": …, "text": …, "cheap": true, "dear": true}.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.upstream.tiers.look import features
from tidegate.upstream.tiers.prior import OURS, Prior, Seen, learned

CHEAP, DEAR = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def answered(data: Path) -> Iterator[Seen]:
    for path in (*sorted((data / "routing/mmlu").glob("*.csv")), data / "routing/gsm8k_responses.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield Seen(path.stem, features(row["prompt"]), row[CHEAP] == "True", row[DEAR] == "True")


def own(path: Path) -> Iterator[Seen]:
    for line in path.read_text("utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            yield Seen(str(row.get("source", path.stem)), features(row["text"]), bool(row["cheap"]), bool(row["dear"]))


def made(options: argparse.Namespace) -> Prior:
    rows = list(answered(options.data)) if options.data else list(own(options.rows))
    return learned(rows, "tools/train_tiers.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--to", type=Path, default=OURS, metavar="FILE")
    options = parser.parse_args()
    if (options.data is None) == (options.rows is None):
        parser.error("one of --data and --rows is needed")
    prior = made(options)
    options.to.write_bytes(msgspec.json.format(msgspec.json.encode(prior), indent=1) + b"\n")
    print({one.name: one.weight for one in prior.weights}, prior.good)


if __name__ == "__main__":
    main()
