"""Figures and verdicts of runs that were made up."""
import unittest

import script
import tallies
import watch


def result(answered=100, faults=None, status=None, heat=((50, 100),)):
    counts = {"answered": answered, "faults": faults or {}, "status": status or {"200": answered}, "unsent": 0, "connections": 1}
    response = {"p50": 1000, "p99": 2000, "p999": 3000, "max": 4000}
    return {"counts": counts, "times": {"response": response}, "verdict": {"reasons": []},
            "series": [{"at": 1.0, "counts": counts, "heat": [list(h) for h in heat]}]}


def fault(name):
    return next(f for f in script.FAULTS if f.name == name)


def out(reason="5 failures in a row"):
    return {"state": "ejected", "reason": reason, "since": 1_795_000_000}


UP = {"state": "usable"}
PORTS = [1, 2, 3, 4]


class Requests(unittest.TestCase):
    def test_what_was_never_sent_counts_as_failed(self):
        got = tallies.requests(result(answered=90, faults={"timeout": 10}), 100, 1)
        self.assertEqual((got["intended"], got["good"], got["share"]), (100, 90, 0.9))
        self.assertEqual(tallies.requests(result(answered=90), 100, 1)["share"], 0.9)

    def test_unexpected_statuses_are_not_good(self):
        got = tallies.requests(result(faults={"status": 7}, status={"200": 93, "503": 7}), 100, 1)
        self.assertEqual(got["good"], 93)
        self.assertEqual(tallies.kinds(got), {"status 503": 7})

    def test_an_answer_that_is_late_since_it_was_due_is_not_good(self):
        got = tallies.requests(result(heat=((50, 96), (88, 1), (89, 2), (95, 1))), 100, 1)
        self.assertEqual((got["good"], got["faults"]), (97, {"late": 3}))
        self.assertLess(2 ** (tallies.LATE_BUCKET / 4), 5e6)
        self.assertGreater(2 ** ((tallies.LATE_BUCKET + 1) / 4), 5e6)

    def test_a_generator_without_a_result_had_no_success(self):
        self.assertEqual(tallies.requests(None, 100, 2)["good"], 0)

    def test_generators_together(self):
        parts = [tallies.requests(result(), 100, 1), tallies.requests(result(answered=50, faults={"reset": 50}), 100, 1)]
        self.assertEqual(tallies.together(parts), {"intended": 200, "good": 150, "share": 0.75, "faults": {"reset": 50}})

    def test_seconds_of_all_generators(self):
        self.assertEqual(tallies.by_second([result(), None, result(answered=90, faults={"reset": 10})], 2), [(190, 10), (0, 0)])


    def test_the_worst_seconds_come_with_who_was_ill(self):
        rows = [script.Row(0, 5, 2, fault("kill")), script.Row(1, 5, 3, fault("slow"))]
        got = tallies.worst([result(answered=90, faults={"reset": 10}), result(faults={"status": 2}, status={"200": 98, "502": 2})], rows)
        self.assertEqual(got, [{"second": 0, "failed": 12, "kinds": {"reset": 10, "status 502": 2}, "ill": ["kill (origin 2, 0 to 5 s)"]}])
        self.assertEqual(tallies.worst([result()], rows), [])


class Posts(unittest.TestCase):
    def test_a_post_that_two_origins_saw_is_found(self):
        seen = [(1.0, "POST", "h1-1", "mute", 0), (1.3, "POST", "h1-1", "well", 2), (1.4, "POST", "h1-2", "well", 2), (1.5, "GET", "-", "well", 0)]
        twice, once = tallies.sent_twice(seen)
        self.assertEqual((list(twice), once), (["h1-1"], 2))
        self.assertEqual([line["origin"] for line in twice["h1-1"]], [0, 2])

    def test_a_post_that_one_origin_saw_twice_is_found(self):
        self.assertEqual(len(tallies.sent_twice([(1.0, "POST", "a", "deaf", 0)] * 2)[0]), 1)

    def test_checks_are_no_requests(self):
        seen = [(1.0, "GET", "check", "well", 0), (1.0, "GET", "-", "well", 0)]
        self.assertEqual(tallies.seen_by_kind(seen), {"GET": 1, "check": 1})


class Named(unittest.TestCase):
    def named(self, row, looks):
        return tallies.named([row], looks, watch.is_out, PORTS)[0]

    def test_how_long_it_took_and_what_was_said(self):
        row = script.Row(10, 20, 1, fault("kill"))
        got = self.named(row, [(9.9, {"2": UP}), (10.2, {"2": UP}), (11.5, {"2": out()}), (21.0, {"2": out()}), (22.0, {"2": UP})])
        self.assertEqual((got["after"], got["said"], got["back_after"]), (1.5, out(), 2.0))

    def test_never_and_too_late(self):
        row = script.Row(10, 20, 1, fault("kill"))
        for looks in ([(11.0, {"2": UP})], [(11.0, {"2": UP}), (18.0, {"2": out()})], [], [(11.0, {})]):
            run = {**RUN, "named": [self.named(row, looks)]}
            self.assertIn(False, [good for _, good in tallies.checks(run, 99)], looks)

    def test_a_gray_fault_is_excused_where_half_of_the_pool_is_out_already(self):
        looks = [(11.0, {"1": out(), "2": UP, "3": out(), "4": UP})]
        self.assertTrue(self.named(script.Row(10, 20, 1, fault("500")), looks)["excused"])
        self.assertFalse(self.named(script.Row(10, 20, 1, fault("503")), looks)["excused"])
        self.assertFalse(self.named(script.Row(10, 20, 1, fault("500")), [(11.0, {"1": out(), "2": UP})])["excused"])

    def test_short_faults_and_those_that_still_serve_need_not_be_named(self):
        rows = [script.Row(10, 12, 0, fault("kill")), script.Row(10, 20, 1, fault("slow")), script.Row(10, 20, 2, fault("hang up"))]
        self.assertEqual(tallies.named(rows, [], watch.is_out, PORTS), [])

    def test_spans_of_being_out(self):
        looks = [(1, {"1": UP}), (2, {"1": out()}), (3, {"1": UP}), (4, {"1": UP, "4": out()})]
        self.assertEqual(tallies.spans(looks, watch.is_out, PORTS), [(0, 2, 3), (3, 4, 4)])


RUN = {"posts": {"twice": 0}, "gets": {"all": {"share": 1.0}}, "problems": [], "named": None, "timeout": 5, "version": 21, "reloads": 20}


class Checks(unittest.TestCase):
    def failed(self, **changes):
        return [what for what, good in tallies.checks({**RUN, **changes}, 99.9) if not good]

    def test_a_good_run(self):
        self.assertEqual(self.failed(), [])
        self.assertEqual(self.failed(named=[]), [])

    def test_each_thing_that_may_be_wrong(self):
        self.assertEqual(len(self.failed(posts={"twice": 1})), 1)
        self.assertEqual(len(self.failed(gets={"all": {"share": 0.9989}})), 1)
        self.assertEqual(len(self.failed(problems=["no result"])), 1)
        self.assertEqual(len(self.failed(named=[], version=20)), 1)
        self.assertEqual(len(self.failed(named=[{"after": 1.0, "excused": False, "said": {**out(), "reason": None}}])), 1)
        self.assertEqual(len(self.failed(named=[{"after": 1.0, "excused": False, "said": {**out(), "since": None}}])), 1)
