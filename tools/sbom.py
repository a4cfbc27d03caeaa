"""What is in an installed Tidegate? A software bill of materials, CycloneDX JSON, made from the lock files.

Of a folder (`--installed`, as the image does) it has what is there of them, with licences; what is there and was not
locked is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*(.*?))?\s*\\?$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"^    #(?: via)?\s+([A-Za-z0-9._-]+)(?:\[\w+\])?(?: \(pyproject\.toml\))?\s*$")


def components(lock: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each package, and who wants it."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        found = PINNED.match(block.splitlines()[0]) if block.strip() else None
        if found is None:
            continue
        name, version, marker = found.groups()
        ref = f"pkg:pypi/{name.lower()}@{version}"
        # A lock has the sums of all wheels of a version; which one is installed depends on the machine.
        properties = [{"name": "tidegate:wheel:sha256", "value": one} for one in HASH.findall(block)]
        properties += [{"name": "tidegate:marker", "value": marker.strip(" \\")}] if marker else []
        yield (
            {
                "type": "library",
                "bom-ref": ref,
                "name": name,
                "version": version,
                "purl": ref,
                "properties": properties,
            },
            [via[1] for line in block.splitlines() if (via := VIA.match(line))],
        )


Installed = Mapping[str, Distribution]


def installed_in(folder: Path) -> Installed:
    return {plain(one.metadata["Name"]): one for one in distributions(path=[str(folder)])}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def there(found: dict[str, Any], installed: Installed) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """What of the locked is installed. Raises SystemExit when it is not what was locked."""
    locked = {plain(name): one[0]["version"] for name, one in found.items()}
    wrong = [f"{name} {one.version}" for name, one in installed.items() if locked.get(name) != one.version]
    wrong.remove(f"tidegate {installed['tidegate'].version}")
    if wrong:
        raise SystemExit(f"installed, and not what is locked: {', '.join(sorted(wrong))}")
    kept = {name: one for name, one in found.items() if plain(name) in installed}
    for name, (one, _) in kept.items():
        said = installed[plain(name)].metadata.get_all("License-Expression")
        one.update({"licenses": [{"expression": said[0]}]} if said else {})
    return kept


def sbom(locks: Sequence[str], version: str, installed: Installed | None = None) -> dict[str, Any]:
    """The same bytes for the same locks: the serial number is made from what is in it."""
    own = f"pkg:pypi/tidegate@{version}"
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for lock in locks:
        for one, wanted_by in components(lock):
            found.setdefault(one["name"], (one, wanted_by))
    if installed is not None:
        found = there(found, installed)
    refs = {"tidegate": own} | {name: one["bom-ref"] for name, (one, _) in found.items()}
    wants: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    for one, wanted_by in found.values():
        for name in wanted_by:
            if name in refs:
                wants[refs[name]].append(one["bom-ref"])
    listed = [one for _, (one, _) in sorted(found.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + json.dumps(listed))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "tidegate",
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": listed,
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(wants.items())],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", action="store_true", help="with what the extras bring")
    parser.add_argument("--image", action="store_true", help="of the image's lock, in place of the base")
    parser.add_argument("--installed", type=Path, help="only of what is installed in this folder")
    parser.add_argument("--out", type=Path, help="a file; standard output when left out")
    asked = parser.parse_args()
    names = ["image"] if asked.image else ["base", "extras"] if asked.extras else ["base"]
    locks = [(ROOT / "requirements" / f"{name}.txt").read_text("utf-8") for name in names]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    installed = installed_in(asked.installed) if asked.installed else None
    text = json.dumps(sbom(locks, version, installed), indent=1) + "\n"
    if asked.out:
        asked.out.write_text(text, "utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
