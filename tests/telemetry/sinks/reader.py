"""What does ClickHouse make of our bytes? Run by the Python of an environment that has chdb: see test_clickhouse.py.

python reader.py calls.sql queries.sql rows.jsonl…     reads {"since": …, "until": …}, prints what each query answers
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any


def statements(text: str) -> list[str]:
    plain = re.sub(r"--[^\n]*|^TTL [^\n]*", "", text, flags=re.M)  # the calls of a test may be of long ago
    return [one.strip() for one in plain.split(";") if one.strip()]


def named(text: str) -> dict[str, str]:
    """Queries by the word that their comment begins with."""
    return {found[1]: found[2] for found in re.finditer(r"^-- (\w+):[^\n]*\n(SELECT.*?);", text, re.M | re.S)}


def main(calls: str, queries: str, *files: str) -> None:
    asked = json.load(sys.stdin)
    session: Any = importlib.import_module("chdb.session").Session()
    for one in statements(Path(calls).read_text()):
        session.query(one)
    for file in files:
        rows = Path(file).read_text()
        for _ in range(2):  # as when an answer was lost: the same token counts once
            session.query(
                "INSERT INTO tidegate.calls SETTINGS insert_deduplication_token = "
                f"'{Path(file).stem}', input_format_skip_unknown_fields = 1 FORMAT JSONEachRow\n{rows}"
            )
    answers = {}
    for name, query in named(Path(queries).read_text()).items():
        for word, value in asked.items():
            query = query.replace(f"{{{word}:Int64}}", str(value))
        said = str(session.query(query + " SETTINGS output_format_json_quote_64bit_integers = 0", "JSON"))
        answers[name] = json.loads(said)["data"]
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
