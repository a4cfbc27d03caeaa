"""Which texts mean the same? all-MiniLM-L6-v2 as int8, in this process: no key, no network, no cost."""

from __future__ import annotations

import sys
from pathlib import Path

# Beside the packages of this environment: the model belongs to it as they do, and a container image carries it along.
FOLDER = Path(sys.prefix) / "share" / "tidegate" / "minilm-l6-int8"
MODEL, VOCABULARY = "model.onnx", "vocabulary.txt"
COMMAND = "tidegate semantic install"
EXTRA = "pip install 'tidegate[semantic]'"
