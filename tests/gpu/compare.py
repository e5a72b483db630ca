#!/usr/bin/env python3
"""Holds the agent's JSON log against the workload's own counts.

In:  WORKLOAD.json (what gpu-agent-workload printed) and EVENTS.jsonl (the agent's log, kernel, memcpy, memset at debug).
Out: a table of kernels and copies, done and seen; exit status 1 if they differ by anything but counted losses.
"""

import collections
import json
import sys


def main(workload, events):
    """Compares; the exit status."""
    with open(workload, encoding="utf-8") as file:
        (report,) = [json.loads(line)["workload"] for line in file if line.startswith('{"workload"')]
    done = collections.Counter(report["launches"])
    directions = {"htod": "h2d", "dtoh": "d2h", "dtod": "d2d"}
    done_bytes = {directions[key]: volume["bytes"] for key, volume in report["copies"].items()}
    for key, volume in report["copies"].items():
        done["memcpy " + directions[key]] += volume["count"]
    done["memset"] += report["memsets"]["count"]

    seen, seen_bytes, lost = collections.Counter(), collections.Counter(), 0
    with open(events, encoding="utf-8") as file:
        for event in map(json.loads, file):
            if event["target"] == "kernel":
                seen[event["kernel_name"]] += 1
            elif event["target"] == "memcpy":
                seen["memcpy " + event["direction"]] += event["copies"]
                seen_bytes[event["direction"]] += event["size_bytes"]
            elif event["target"] == "memset":
                seen["memset"] += 1
            elif event["target"] == "losses":
                # Other lines of this target are running totals.
                lost += event.get("records", 0)

    wrong = False
    missing = 0
    print(f"{'what':50} {'done':>10} {'seen':>10}")
    for what in sorted(done.keys() | seen.keys()):
        print(f"{what:50} {done[what]:10} {seen[what]:10}")
        missing += done[what] - seen[what]
        wrong |= seen[what] > done[what]
    for direction, count in sorted(done_bytes.items()):
        print(f"{'bytes ' + direction:50} {count:10} {seen_bytes[direction]:10}")
        wrong |= not missing and seen_bytes[direction] != count
    print(f"missing {missing}, counted as lost {lost}")
    return 1 if wrong or missing != lost else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
