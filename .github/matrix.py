"""The strategies of the GPU lane's matrix, from `nox --list --json --session bench`, which has a session for each."""

import json
import sys

sessions = json.load(sys.stdin)
names = [str(session["call_spec"]["strategy"]) for session in sessions if session["name"] == "bench"]
print("strategies=" + json.dumps(names))
