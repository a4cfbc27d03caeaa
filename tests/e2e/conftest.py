"""The matrix of clients takes minutes and npm, so it runs when it is asked for: TIDEGATE_MATRIX=1 ./run test."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("TIDEGATE_MATRIX") else ["matrix"]
