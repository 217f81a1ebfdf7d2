"""Processes: started on a core, ended with all their children, and what they used."""
import ctypes
import os
import signal
import socket
import subprocess
import time

PATIENCE_S = 20
#: Servers hold up to this long on their connections before they are killed.
ENDING_S = 3
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class StartError(Exception):
    """A program did not come up; with what it said."""


class Tree:
    """A process and its children, all in one session and, unless `core` is None, on one core. Ends with the driver, whatever ends
    that."""

    def __init__(self, command, core, directory, environment=None, nice=0, name="", out=None):
        self.name = name or os.path.basename(command[0])
        self.log = os.path.join(directory, f"{self.name}.log")

        def prepare():
            # Should the driver be killed: asked to end, servers end their workers too.
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if core is not None:
                os.sched_setaffinity(0, {core})
            _prefer(nice)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=out or log, stderr=log, start_new_session=True, preexec_fn=prepare)
        self.pid = self.process.pid

    def members(self):
        """Ids of all its processes that live."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (stat := _stat(entry)) and int(stat[3]) == self.pid and stat[0] not in "ZX":
                found.append(int(entry))
        return found

    def cpu_us(self):
        """µs of processor time that its threads have used: {(process, thread): µs}."""
        used = {}
        for pid in self.members():
            used.update(_threads(pid))
        return used

    def memory_kib(self):
        """Proportional set size: pages that several processes share count once."""
        return sum(_pss(pid) for pid in self.members())

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()[-2000:]

    def wait_for(self, ready, what, patience=PATIENCE_S):
        """Asks `ready` until it says yes."""
        end = time.monotonic() + patience
        while not ready():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} ended with {self.process.returncode}: {self.said()}")
            if time.monotonic() > end:
                raise StartError(f"{self.name}: no {what} after {patience:.0f} s: {self.said()}")
            time.sleep(0.01)

    def stop(self):
        """Ends all of it: asked first, killed then."""
        self._signal(signal.SIGTERM)
        end = time.monotonic() + ENDING_S
        while (self.process.poll() is None or self.members()) and time.monotonic() < end:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, which):
        """To all that are left. A process that was waited for is not among them, so that no stranger with its id is met."""
        for pid in self.members():
            try:
                os.kill(pid, which)
            except ProcessLookupError:
                pass


def spent(before, after):
    """µs between two readings of `cpu_us`. What a thread used that ended in between is lost."""
    return sum(us - before.get(thread, 0.0) for thread, us in after.items())


def free_port():
    """A port that is free for TCP and for UDP."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartError("no free port")


def listens(port):
    """Whether somebody accepts on this TCP port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def _prefer(nice):
    """Priority of a process and, where sessions are scheduled as groups, of its group. Needs root below 0."""
    if not nice:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(nice))
    except OSError:
        pass


def _stat(pid):
    """The fields of /proc/PID/stat behind the name, the state first."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def _threads(pid):
    """{(process, thread): µs}; by schedstat, which counts nanoseconds, where the kernel has it."""
    used = {}
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            used[pid, int(thread)] = _thread_us(f"{pid}/task/{thread}")
    except OSError:
        pass
    return used


def _thread_us(where):
    try:
        with open(f"/proc/{where}/schedstat") as f:
            return int(f.read().split()[0]) / 1e3
    except (OSError, IndexError):
        stat = _stat(where)
        return (int(stat[11]) + int(stat[12])) * 1e6 / os.sysconf("SC_CLK_TCK") if stat else 0.0


def _pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    except OSError:
        return 0
