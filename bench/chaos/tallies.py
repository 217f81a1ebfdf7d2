"""Figures of a run, from what clients, origins and the edge wrote down."""
import collections

#: An endpoint that is out must be named within so long of the beginning of its fault, s.
NAMED_WITHIN_S = 4.0
#: So many out besides it may be the reason that one is not: at most half of a pool is ejected.
EJECTED_MAX = 2
#: Buckets of `heat` are quarters of powers of two, µs: this one begins at 4.99 s, what a client waits.
LATE_BUCKET = 89


def requests(result, rate, seconds):
    """What became of all that should have been sent by one generator."""
    intended = round(rate * seconds)
    if result is None:
        return {"intended": intended, "good": 0, "share": 0.0, "faults": {"no_result": intended}, "status": {}}
    counts, response = result["counts"], result["times"]["response"] or {}
    late = late_in(result["series"])
    good = good_of(counts, late)
    return {
        "intended": intended, "good": good, "share": good / intended if intended else 1.0, "status": counts["status"],
        "faults": {**counts["faults"], **({"late": late} if late else {})}, "unsent": counts["unsent"], "connections": counts["connections"],
        **{f"{p}_ms": response[p] / 1e3 for p in ("p50", "p99", "p999", "max") if p in response},
        "generator": "; ".join(result["verdict"]["reasons"]),
    }


def good_of(counts, late=0):
    """Answers of a status that is expected, whole and in time."""
    return max(0, counts["answered"] - counts["faults"].get("status", 0) - counts["faults"].get("body", 0) - late)


def late_in(pieces):
    """Answers that came after a client's time: it waits from when a request is sent, these had waited for a place before."""
    return sum(n for piece in pieces for bucket, n in piece["heat"] if bucket >= LATE_BUCKET)


def together(parts):
    """Several generators as one."""
    intended, good = sum(p["intended"] for p in parts), sum(p["good"] for p in parts)
    faults = collections.Counter()
    for p in parts:
        faults.update(kinds(p))
    return {"intended": intended, "good": good, "share": good / intended if intended else 1.0, "faults": dict(faults)}


def kinds(part):
    """Failures by kind; unexpected statuses one by one."""
    found = {k: n for k, n in part["faults"].items() if k != "status"}
    found.update({f"status {s}": n for s, n in part["status"].items() if not s.startswith("2")})
    if part.get("unsent"):
        found["unsent"] = part["unsent"]
    return found


def by_second(results, seconds):
    """[(good, failed)] of each second of the run, all generators together; by when it was known."""
    out = [[0, 0] for _ in range(seconds)]
    for result in filter(None, results):
        for piece in result["series"]:
            at = min(max(int(piece["at"] + 0.5) - 1, 0), seconds - 1)
            late = late_in([piece])
            out[at][0] += good_of(piece["counts"], late)
            out[at][1] += sum(piece["counts"]["faults"].values()) + late
    return [tuple(pair) for pair in out]


def worst(results, rows, most=15):
    """The seconds with most failures: [{"second", "failed", "kinds", "ill"}]. `ill`: who was, or had been a second before."""
    at = collections.defaultdict(collections.Counter)
    for result in filter(None, results):
        for piece in result["series"]:
            counts = piece["counts"]
            part = {"faults": counts["faults"], "status": counts["status"]}
            at[int(piece["at"] + 0.5) - 1].update(kinds(part))
    found = [{"second": s, "failed": sum(k.values()), "kinds": dict(k.most_common()), "ill": _ill(rows, s)} for s, k in at.items() if k]
    return sorted(found, key=lambda w: (-w["failed"], w["second"]))[:most]


def _ill(rows, second):
    return [f"{r.fault.name} (origin {r.origin}, {r.at} to {r.until} s)" for r in rows if r.at <= second <= r.until]


def sent_twice(seen):
    """{id: what origins wrote down of it} of POSTs that were seen more than once, and how many were seen at all."""
    posts = collections.defaultdict(list)
    for at, method, name, did, origin in seen:
        if method == "POST" and name != "-":
            posts[name].append({"at": at, "origin": origin, "did": did})
    return {name: lines for name, lines in posts.items() if len(lines) > 1}, len(posts)


def seen_by_kind(seen):
    """How many requests origins saw: {"GET", "POST", "check"}."""
    return collections.Counter("check" if name == "check" else method for _, method, name, _, _ in seen)


def spans(looks, is_out, ports):
    """[(origin, from, until)]: when each was out of use, by what was looked at."""
    found = []
    for number, port in enumerate(str(p) for p in ports):
        since = None
        for at, seen in looks:
            if is_out(seen.get(port)) and since is None:
                since = at
            elif not is_out(seen.get(port)) and since is not None:
                found.append((number, since, at))
                since = None
        if since is not None:
            found.append((number, since, looks[-1][0]))
    return found


def named(rows, looks, is_out, ports):
    """For each row that has to be told: after how long, and what was said. `excused` where as many as may be were out already."""
    return [_named(row, looks, is_out, [str(p) for p in ports]) for row in rows if row.is_to_be_told()]


def _named(row, looks, is_out, ports):
    mine = ports[row.origin]
    found = {"fault": row.fault.name, "origin": row.origin, "at": row.at, "until": row.until, "after": None, "said": None, "excused": False}
    for at, seen in looks:
        if row.at <= at < row.until and is_out(seen.get(mine)):
            found["after"], found["said"] = round(at - row.at, 2), seen[mine]
            break
    for at, seen in looks:
        if at >= row.until and not is_out(seen.get(mine)):
            found["back_after"] = round(at - row.until, 2)
            break
    if found["after"] is None or found["after"] > NAMED_WITHIN_S:
        others = [sum(is_out(seen.get(p)) for p in ports if p != mine) for at, seen in looks if row.at <= at < row.at + NAMED_WITHIN_S]
        # Only checks may take out more than half of a pool, and they know nothing of a gray fault.
        found["excused"] = row.fault.gray and bool(others) and max(others) >= EJECTED_MAX
    return found


def checks(run, floor):
    """[(what must hold, whether it does)] for one server."""
    got = [
        ("no POST was seen twice by origins", run["posts"]["twice"] == 0),
        (f"at least {floor:.4g} % of the GETs answered 2xx within {run['timeout']} s", run["gets"]["all"]["share"] * 100 >= floor),
        ("every generator has a result", not run["problems"]),
    ]
    if run["named"] is not None:
        late = [n for n in run["named"] if not n["excused"] and (n["after"] is None or n["after"] > NAMED_WITHIN_S)]
        got.append((f"who is out was named within {NAMED_WITHIN_S:.0f} s ({len(run['named']) - len(late)} of {len(run['named'])})", not late))
        wordless = [n for n in run["named"] if n["said"] and not (n["said"].get("reason") and n["said"].get("since"))]
        got.append(("and why, and since when", not wordless))
        got.append((f"the configuration of each of the {run['reloads']} reloads came into use", run["version"] == run["reloads"] + 1))
    return got
