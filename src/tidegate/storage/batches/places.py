"""Where do sealed bytes of files and batches stand? They are good nowhere else."""

from __future__ import annotations

from tidegate.core.ports import Place


def named(file: str, tenant: str = "") -> Place:
    return Place("files", file, "name", tenant)


def part(file: str, at: int, tenant: str = "") -> Place:
    return Place("file_parts", f"{file}:{at}", "body", tenant)


def head(batch: str, tenant: str = "") -> Place:
    return Place("batches", batch, "head", tenant)


def mistakes(batch: str) -> Place:
    return Place("batches", batch, "mistakes")


def line(batch: str, line: int, column: str, tenant: str = "", user: str | None = None) -> Place:
    return Place("batch_lines", f"{batch}:{line}", column, tenant, user or "")
