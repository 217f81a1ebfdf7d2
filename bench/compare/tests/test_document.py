"""The document and its charts, from samples that are made up."""
import json
import os
import tempfile
import unittest
import xml.etree.ElementTree as xml

import curves
import plot
import run
import scenarios
import tables
import write
from place import Place

ABOUT = {"peers": {"nginx": {"title": "nginx", "version": "1.22.1", "notes": ""}, "edge": {"title": "edge", "version": "0.1.0", "notes": "a note"}},
         "generators": {"edge bench": "0.1.0", "wrk": "4.1.0"}, "absent": ["envoy: no program envoy; left out"], "commands": ["a", "a"],
         "machine": {"cpu": "A", "processors": 2, "virtual": True, "memory_mib": 4096, "system": "Debian", "kernel": "6.1", "governor": "unknown",
                     "open_files": 20000}, "date": "2026-01-02", "seconds": 3.0, "rounds": 3, "nice": 0, "origin": "edge"}


def made(case, peer, cost, number, generator="edge bench", others=1.0):
    return {"case": case, "peer": peer, "generator": generator, "round": number, "attempt": 0, "cost_us": cost, "rate": 1e5,
            "utilisation_percent": 99.0, "memory_kib": 2048 * cost, "p50_us": 100, "p99_us": 50 * cost, "generator_us": 4.0,
            "others_percent": others, "steal_percent": 0.0, "faults": 0, "invalid": ""}


def run_of(samples, folder):
    place = Place(folder)
    with open(place.about, "w") as f:
        json.dump(ABOUT, f)
    with open(place.samples, "w") as f:
        f.writelines(json.dumps(s) + "\n" for s in samples)
    return place


def text_of(path):
    with open(path) as f:
        return f.read()


class Document(unittest.TestCase):
    def written(self, samples):
        with tempfile.TemporaryDirectory() as folder:
            place = run_of(samples, folder)
            os.mkdir(os.path.join(folder, "docs"))
            to = os.path.join(folder, "docs", "BENCHMARKS.md")
            self.assertEqual(write.write(place, to), 0)
            beside = os.path.join(folder, "docs", "benchmarks")
            return text_of(to), {name: text_of(os.path.join(beside, name)) for name in os.listdir(beside)}

    def test_ratios_losses_and_what_is_absent(self):
        samples = [made("h1", peer, cost, n, g) for n in range(3) for g in ("edge bench", "wrk") for peer, cost in (("edge", 9), ("nginx", 10))]
        samples += [made("h1-tls", peer, cost, n) for n in range(3) for peer, cost in (("edge", 12), ("nginx", 10))]
        text, _ = self.written(samples)
        self.assertIn("| HTTP/1.1 proxied, 1 KiB | 9.00 (9.00–9.00) | 0.90 (0.90–0.90) |", text)
        self.assertIn("**1.20 (1.20–1.20)**", text)
        self.assertIn("- HTTP/1.1 over TLS proxied, 1 KiB: CPU 1.20 (1.20–1.20) of nginx 1.22.1's, in every round", text)
        self.assertIn("ratio by wrk", text)
        self.assertIn("Not in this run: envoy", text)

    def test_disturbed_ratios_are_refused(self):
        samples = [made("h1", peer, 9, n, others=50.0) for n in range(3) for peer in ("edge", "nginx")]
        text, _ = self.written(samples)
        self.assertIn("| nginx 1.22.1 | —, disturbed | —, disturbed |", text)
        self.assertIn("Unknown: no ratio could be given.", text)
        self.assertIn("6 samples of 3 s: 0 clean, 6 disturbed, 0 failed.", text)

    def test_curves_have_charts_that_are_well_formed(self):
        points = [s.name for _, s in curves.ALL[0].points]
        samples = [made(p, peer, 9 + i, n) for i, p in enumerate(points) for n in range(2) for peer in ("edge", "nginx")]
        text, charts = self.written(samples)
        self.assertIn("](benchmarks/connections-cost.svg)", text)
        for name in ("connections-cost.svg", "connections-memory.svg"):
            self.assertTrue(xml.fromstring(charts[name]).tag.endswith("svg"))

    def test_samples_are_kept_beside_the_document(self):
        _, kept = self.written([made("h1", "edge", 9, 0)])
        self.assertEqual(len(kept["samples.jsonl"].splitlines()), 1)


class Charts(unittest.TestCase):
    def test_names_are_escaped(self):
        text = plot.chart('a < "b"', "x & y", "µs", [("<edge>", [(1, 1, 1, 1), (10, 2, 1, 3)])])
        xml.fromstring(text)

    def test_a_logarithmic_axis_has_a_place_for_zero(self):
        axis = plot.Axis([0, 1024, 1048576], 0, 100)
        self.assertTrue(axis.log)
        self.assertEqual(axis.at(0), 0)
        self.assertTrue(0 < axis.at(1024) < axis.at(1048576) <= 100)

    def test_a_narrow_axis_begins_at_zero(self):
        self.assertEqual(plot.Axis([9, 12], 0, 100, include_zero=True).at(0), 0)

    def test_one_value_only(self):
        xml.fromstring(plot.chart("t", "x", "y", [("a", [(5, 3, 3, 3)])]))

    def test_no_points_no_chart(self):
        self.assertEqual(plot.chart("t", "x", "y", []), "")

    def test_labels_do_not_cover_each_other(self):
        places = sorted(plot._spread([(100, 0), (101, 1), (102, 2)]).values())
        self.assertTrue(all(b - a >= plot.LABEL_GAP for a, b in zip(places, places[1:])))


class Resuming(unittest.TestCase):
    def test_a_line_that_was_cut_off_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "samples.jsonl")
            with open(path, "w") as f:
                f.write(json.dumps(made("h1", "edge", 9, 0)) + '\n{"case": "h1", "pe')
            self.assertEqual(len(run.read(path)), 1)

    def test_what_is_clean_is_not_taken_again(self):
        with tempfile.TemporaryDirectory() as folder:
            log = run.Log(os.path.join(folder, "samples.jsonl"))
            key = ("h1", "edge", "edge bench", 0)
            self.assertTrue(log.needs(key))
            log.add(made("h1", "edge", 9, 0, others=50.0))
            self.assertTrue(log.needs(key))
            log.add({**made("h1", "edge", 9, 0), "attempt": 1})
            self.assertFalse(log.needs(key))
            log.file.close()
            again = run.Log(log.path)
            self.assertFalse(again.needs(key))
            again.file.close()

    def test_a_line_that_was_cut_off_does_not_spoil_the_next(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "samples.jsonl")
            with open(path, "w") as f:
                f.write('{"case": "h1", "pe')
            log = run.Log(path)
            log.add(made("h1", "edge", 9, 0))
            log.file.close()
            self.assertEqual(len(run.read(path)), 1)


class Turns(unittest.TestCase):
    def test_each_round_begins_with_another_and_abilities_count(self):
        class Peer:
            def __init__(self, name, can):
                self.name, self.can = name, can

        class Bench:
            origins = type("O", (), {"of": staticmethod(lambda s: True)})
            generator = staticmethod(lambda s, name="": None if name else "any")

        peers = [Peer("a", {"h1", "tls"}), Peer("b", {"h1"})]
        cases = [run.Case(s, 2) for s in scenarios.by_name(["h1", "h1-tls"])]
        turns = [(n, c.key, p.name) for n, c, p, _ in run.turns(cases, peers, Bench, 2)]
        self.assertEqual(turns, [(0, "h1", "a"), (0, "h1", "b"), (0, "h1-tls", "a"), (1, "h1", "b"), (1, "h1", "a"), (1, "h1-tls", "a")])


class Cells(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual([tables.number(v) for v in (1.234, 12.34, 1234.5)], ["1.23", "12.3", "1,234"])


if __name__ == "__main__":
    unittest.main()
