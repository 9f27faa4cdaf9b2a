"""The smallest adapter with one mistake, which its first argument names."""

import json
import os
import signal
import sys
import time
from urllib.parse import urlsplit

import minimal
import psycopg

MISTAKE = sys.argv[1]


class Crooked(minimal.Adapter):
    def start(self, protocol):
        said = super().start(protocol)
        match MISTAKE:
            case "no audit":
                del said["audit"]
            case "unknown promise":
                said["promises"] = ["loser"]
            case "misspelt field":
                said["promise"] = ["winner"]
            case "serial ids":
                said["ids"] = "serial"
            case "audit without parameter":
                said["audit"]["bookings"] = "SELECT booking_id, units FROM booking"
            case "audit of another table":
                said["audit"]["bookings"] = "SELECT id, units FROM bookings WHERE r = $1"
            case "audit of the wrong column":
                said["audit"]["booked"] = "SELECT capacity FROM resource WHERE id = $1"
        return said

    def prepare(self, dsn):
        if MISTAKE == "prepare only once" and self.admin is not None:
            raise ValueError("relation exists")
        super().prepare(dsn)

    def connect(self, dsn, deadline_ms):
        if MISTAKE == "keeps connections":
            self.kept = self.connection
            self.connection = None
        super().connect(dsn, deadline_ms)
        if MISTAKE == "drops the password":
            at = urlsplit(dsn)
            self.dsn = f"postgresql://{at.username}@{at.hostname}:{at.port}{at.path}"
        if MISTAKE == "around the gate":
            self.dsn = os.environ["AROUND"]
        if MISTAKE == "one connection around the gate":
            self.around = psycopg.connect(os.environ["AROUND"])

    def attempt(self, booking_id, resource_id, requested_units):
        if MISTAKE == "a later connection around the gate":
            self.around = psycopg.connect(os.environ["AROUND"])
        try:
            result = super().attempt(booking_id, resource_id, requested_units)
        except ValueError as error:
            unknown = "no resource" in str(error)
            if MISTAKE == "unknown resources are outcomes" and unknown:
                return {"outcome": "REJECTED"}
            if MISTAKE == "programming errors are outcomes":
                return {"outcome": "REJECTED"}
            raise
        return self.reword(result, requested_units)

    def reword(self, result, units):
        match MISTAKE, result["outcome"]:
            case "lower case", outcome:
                result["outcome"] = outcome.lower()
            case "rejected in another way", "REJECTED":
                return {"outcome": "FAILED", "cause": "CONFLICT"}
            case "failed without cause", "FAILED":
                return {"outcome": "FAILED"}
            case "forgotten", "BOOKED" if units == 2:
                return {"outcome": "REJECTED"}
            case "crash", _:
                raise RuntimeError("the ceiling fell down")
            case "hang", _:
                time.sleep(1000)
            case "print", _:
                print("booked!", flush=True)
        return result


def main():
    signal.signal(signal.SIGALRM, minimal.late)
    adapter = Crooked()
    for line in sys.stdin:
        request = json.loads(line)
        seq, command = request.pop("seq"), request.pop("cmd")
        if MISTAKE == "wrong seq":
            seq += 1
        try:
            reply = {"result": getattr(adapter, command)(**request) or {}}
        except ValueError as error:
            kind = "errored" if MISTAKE == "errors are the adapter's" else "raised"
            reply = {kind: {"message": str(error)}}
        print(json.dumps({"seq": seq, **reply}), flush=True)
        if command == "stop" and MISTAKE != "goes on after stop":
            return
    while MISTAKE.startswith("goes on after"):
        time.sleep(1000)


main()
