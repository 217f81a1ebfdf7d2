"""The four origins as processes: started, made ill, made well again."""
import json
import os
import signal
import socket
import sys

import process
import script

FLAKY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flaky.py")


class Cluster:
    """All origins of one run, each on a port that it keeps."""

    def __init__(self, place, nice, seed):
        self.members = [_Member(number, place, nice, seed) for number in range(script.ORIGINS)]

    def start(self):
        for member in self.members:
            member.start()
        return self

    def ports(self):
        return [member.port for member in self.members]

    def begin(self, row):
        self.members[row.origin].begin(row.fault)

    def end(self, row):
        self.members[row.origin].end(row.fault)

    def seen(self):
        """Lines of all their records: (seconds since 1970, method, id, what the origin did then, origin)."""
        for member in self.members:
            with open(member.log) as f:
                for line in f:
                    at, method, name, did = line.split(" ", 3)
                    yield float(at), method, name, did.rstrip("\n"), member.number

    def stop(self):
        for member in self.members:
            member.stop()


class _Member:
    def __init__(self, number, place, nice, seed):
        self.number, self.nice, self.seed = number, nice, seed + number
        self.port = process.free_port()
        self.directory = place.fresh(f"origin-{number}")
        self.log = os.path.join(self.directory, "seen")
        self.control = os.path.join(self.directory, "control")
        self.tree = None

    def start(self):
        command = [sys.executable, "-S", "-E", FLAKY, "--port", str(self.port), "--control", self.control, "--log", self.log,
                   "--seed", str(self.seed)]
        self.tree = process.Tree(command, None, self.directory, None, self.nice, f"origin-{self.number}")
        self.tree.wait_for(lambda: process.listens(self.port), "answer on its port")

    def begin(self, fault):
        if fault.how == "kill":
            self.tree.process.kill()
            self.tree.process.wait()
        elif fault.how == "freeze":
            os.kill(self.tree.pid, signal.SIGSTOP)
        else:
            self._tell(fault.order)

    def end(self, fault):
        if fault.how == "kill":
            self.start()
        elif fault.how == "freeze":
            os.kill(self.tree.pid, signal.SIGCONT)
        else:
            self._tell(script.WELL)

    def _tell(self, order):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(json.dumps(order).encode(), self.control)

    def stop(self):
        if self.tree and self.tree.process.poll() is None:
            self.tree.process.kill()
            self.tree.process.wait()
