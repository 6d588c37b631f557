"""What each core of this host takes for the same Python, at three moments: `python -m benchmarks.cores`.

How far they are apart, and whether it is the same ones a second later, says what a plan of speed can know of
passes that wait for the host (docs/measured/speed.md).
"""

import time

from core.machine.core_speed import of_each

LOOKS, APART = 3, 1.0
"""Looks, and seconds between them."""


def main() -> None:
    for look in range(LOOKS):
        if look:
            time.sleep(APART)
        print(said(of_each(1024)), flush=True)


def said(times: list[float]) -> str:
    """Milliseconds of each core in a line, their mean first."""
    return f"mean {sum(times) / len(times):.2f} ms: " + " ".join(f"{one:.2f}" for one in times)


if __name__ == "__main__":
    main()
