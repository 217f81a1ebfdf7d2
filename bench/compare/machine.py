"""The machine: what it is, who uses its processors, and whether its bounds suffice."""
import os
import platform
import re
import resource
import time

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


class Cores:
    """Which processor the server gets, and which one generator and origin share."""

    def __init__(self, server=None, client=None):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise SystemExit("two processors are needed, one for the server and one for its load; there is one")
        self.server = allowed[0] if server is None else server
        self.client = next(c for c in allowed if c != self.server) if client is None else client
        if self.server == self.client or not {self.server, self.client} <= set(allowed):
            raise SystemExit(f"processors {self.server} and {self.client}: two different ones of {allowed} are needed")


def busy_us():
    """µs that all processors together have worked, and µs that the hypervisor gave to others, since boot."""
    with open("/proc/stat") as f:
        return parse_busy(f.readline())


def parse_busy(line):
    """The same from the first line of /proc/stat."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(n) for n in line.split()[1:9])
    return (user + nice + system + irq + softirq) * TICK_US, steal * TICK_US


def wait_for_quiet(limit_percent, patience_s):
    """Waits until nobody else works, or until patience is at its end; the last reading, % of one processor."""
    end = time.monotonic() + patience_s
    while True:
        before, begun = busy_us(), time.monotonic()
        time.sleep(0.3)
        after = busy_us()
        load = 100 * (sum(after) - sum(before)) / ((time.monotonic() - begun) * 1e6)
        if load <= limit_percent or time.monotonic() > end:
            return load
        time.sleep(0.7)


def about(cores):
    """Everything of the machine that figures depend on, as far as it can be known."""
    return {
        "cpu": _first(r"model name\s*: (.*)", "/proc/cpuinfo") or platform.processor() or "unknown",
        "processors": os.cpu_count(),
        "server_core": cores.server,
        "client_core": cores.client,
        "memory_mib": int(_first(r"MemTotal:\s+(\d+)", "/proc/meminfo") or 0) // 1024,
        "kernel": platform.release(),
        "system": _first(r'PRETTY_NAME="(.*)"', "/etc/os-release") or platform.system(),
        "virtual": bool(_first(r"flags.*\b(hypervisor)\b", "/proc/cpuinfo")),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "backlog": int(_read("/proc/sys/net/core/somaxconn") or 0),
    }


def raise_open_files():
    """Raises the bound of open files as far as it goes; how many are possible then."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return ""


def _first(pattern, path):
    found = re.search(pattern, _read(path))
    return found[1].strip() if found else None
