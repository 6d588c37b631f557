"""A child for the tests of `core.job`: it does what its request says."""

import os
import sys
import time
from typing import Any

from core.errors import UserError
from core.job import Progress, serve


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    print("a library's banner on stdout", flush=True)
    os.write(1, b"and straight to the file descriptor\n")
    progress("read", 1, 2)
    progress("read", 2, None)
    match request["do"]:
        case "refuse":
            raise UserError("no", "because", "do that", code=1)
        case "break":
            raise RuntimeError("it broke here")
        case "die":
            os.kill(os.getpid(), 9)
        case "hang":
            progress(f"pid {os.getpid()}", 0)
            time.sleep(600)
    return {"echo": request["say"], "python": sys.flags.safe_path}


if __name__ == "__main__":
    serve(answer)
