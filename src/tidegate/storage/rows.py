"""How does what is kept become a row of a table, and a struct again? The same for every database."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from tidegate.core.experiments import Decision, Experiment
from tidegate.core.ports import Bearer, Kept, Key, Organisation, Setting, Team, User
from tidegate.core.prompts import Prompt, PromptMove, PromptVersion

TABLES: dict[type[Any], str] = {
    Organisation: "organisations",
    Team: "teams",
    User: "users",
    Key: "keys",
    Setting: "settings",
    Experiment: "experiments",
    Decision: "decisions",
    Prompt: "prompts",
    PromptVersion: "prompt_versions",
    PromptMove: "prompt_moves",
}
# By what the oldest is the first.
AGES: dict[type[Any], str] = {Decision: "at_ms"}
AGE = "created_ms"

# Of each field: its name, and whether it is a list. To look at a class takes a millisecond, too long for a busy key.
_FIELDS = {kind: [(field.name, field.default == ()) for field in msgspec.structs.fields(kind)] for kind in TABLES}


def columns(kind: type[msgspec.Struct], of: str = "") -> str:
    """The columns of `kind`, as SQL lists them; `of` is the table's short name."""
    return ", ".join(f"{of}{field}" for field in kind.__struct_fields__)


def value(field: Any) -> Any:
    """A field as a column holds it: lists are JSON."""
    return msgspec.json.encode(field).decode() if isinstance(field, tuple) else field


def values(one: msgspec.Struct) -> list[Any]:
    return [value(field) for field in msgspec.structs.astuple(one)]


def restored(kind: type[Kept], row: tuple[Any, ...]) -> Kept:
    found: dict[str, Any] = {}
    for (name, is_list), kept in zip(_FIELDS[kind], row, strict=True):
        found[name] = msgspec.json.decode(kept) if is_list else kept
    return msgspec.convert(found, kind)


def newest_query(kind: type[Kept], mark: str, schema: str = "", tie: str = "rowid") -> str:
    """A page, newest first; after it come the id that it begins behind, twice, and how many. `tie`: of the same age,
    what was put in later is newer."""
    age = f"{AGES.get(kind, AGE)}, {tie}"
    table = f"{schema}{TABLES[kind]}"
    return f"""
        SELECT {columns(kind)} FROM {table}
        WHERE CAST({mark} AS text) IS NULL OR ({age}) < (SELECT {age} FROM {table} WHERE id = {mark})
        ORDER BY {AGES.get(kind, AGE)} DESC, {tie} DESC LIMIT {mark}"""


def bearer_query(mark: str, schema: str = "") -> str:
    """A key with all that it belongs to; `mark` is where its id goes, `schema` what stands before a table's name."""
    return f"""
        SELECT {columns(Key, "k.")}, {columns(User, "u.")}, {columns(Team, "t.")}, {columns(Organisation, "o.")}
        FROM {schema}keys k
        LEFT JOIN {schema}users u ON u.id = k.user_id
        LEFT JOIN {schema}teams t ON t.id = coalesce(k.team_id, u.team_id)
        LEFT JOIN {schema}organisations o ON o.id = coalesce(t.organisation_id, 'default')
        WHERE k.id = {mark}"""


def bearer(row: tuple[Any, ...]) -> Bearer:
    """A row of `bearer_query`."""
    ends = [0]
    for kind in (Key, User, Team, Organisation):
        ends.append(ends[-1] + len(kind.__struct_fields__))
    key, user, team, organisation = (row[begin:end] for begin, end in pairwise(ends))
    return Bearer(
        restored(Key, key),
        restored(User, user) if user[0] is not None else None,
        restored(Team, team) if team[0] is not None else None,
        restored(Organisation, organisation) if organisation[0] is not None else None,
    )
