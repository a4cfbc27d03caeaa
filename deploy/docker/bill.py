"""What is in the image? A bill of materials (CycloneDX 1.6) of every package in a folder, beside them.

python bill.py /opt/tidegate writes /opt/tidegate/sbom.cdx.json
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any


def bill(folder: Path) -> dict[str, Any]:
    """Without a time or a random number in it: the same packages make the same bill."""
    packages = sorted(distributions(path=[str(folder)]), key=lambda one: one.metadata["Name"].lower())
    parts = [component(one) for one in packages]
    itself = next(part for part in parts if part["name"] == "tidegate")
    others = [part for part in parts if part is not itself]
    about = {"component": itself | {"type": "application"}}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about, "components": others}


def component(package: Distribution) -> dict[str, Any]:
    name = package.metadata["Name"].lower().replace("_", "-")
    address = f"pkg:pypi/{name}@{package.version}"
    found: dict[str, Any] = {"type": "library", "name": name, "version": package.version, "purl": address}
    said = package.metadata.get("License-Expression")
    return found | {"bom-ref": address} | ({"licenses": [{"expression": said}]} if said else {})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    (root / "sbom.cdx.json").write_text(json.dumps(bill(root), indent=1) + "\n", encoding="utf-8")
