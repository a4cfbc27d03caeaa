"""How long does this machine keep a process waiting that wants next to nothing? What a stall is to be compared with.

`python -m bench.idle` prints the longest wait so far, in ms, whenever it grows; until it is ended.
"""

from __future__ import annotations

import time

EVERY_S = 0.02  # as tidegate.telemetry.pulse


def main() -> None:
    longest = 0.0
    while True:
        due = time.monotonic() + EVERY_S
        time.sleep(EVERY_S)
        late = time.monotonic() - due
        if late > longest:
            longest = late
            print(f"{longest * 1e3:.1f}", flush=True)


if __name__ == "__main__":
    main()
