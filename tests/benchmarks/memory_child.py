"""Stands for a process of cells in tests: it does as each request says, and answers where it is to."""

import json
import os
import sys
import time
from pathlib import Path

BEAT, BEATS = 0.02, 1500

for line in sys.stdin:
    request = json.loads(line)
    row = {"cell": request["cell"], "ends": False, "pid": os.getpid(), "beside": request["beside"]}
    if request["do"] == "die":
        os._exit(9)
    if request["do"] == "tear":
        sys.stdout.write('{"cell": "to')
        sys.stdout.flush()
        os._exit(9)
    if request["do"] == "hang":
        time.sleep(BEAT * BEATS)
    if request["do"] == "meet":
        place = Path(request["place"])
        (place / request["cell"]).touch()
        row["met"] = False
        for _ in range(BEATS):
            row["met"] = len(list(place.iterdir())) == request["wanted"]
            if row["met"]:
                break
            time.sleep(BEAT)
    if request["do"] == "short" and request["beside"]:
        row["out_of_memory"] = "beside others"
    row["ends"] = request["do"] == "end"
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
    if row["ends"]:
        break
