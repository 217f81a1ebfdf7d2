"""The report, the settings, and what is read from a status."""
import os
import unittest
import xml.etree.ElementTree

import clients
import report
import script
import servers
import template
import watch

PART = {"intended": 100, "good": 99, "share": 0.99, "faults": {"reset": 1}, "status": {"200": 99},
        "p50_ms": 1.5, "p99_ms": 12.0, "p999_ms": 1200.0}
TWICE = {"h1-7": [{"at": 1.0, "origin": 0, "did": "mute"}, {"at": 1.3, "origin": 2, "did": "well"}]}
RUN = {"peer": "edge", "title": "edge 1 <x>", "gets": {"h1": PART, "all": PART},
       "posts": {"h1": PART, "all": PART, "twice": 1, "seen": 100, "twice_ids": TWICE},
       "seen": {"GET": 120, "check": 9}, "problems": ["none really"], "by_second": [(10, 0)] * 29 + [(9, 1)],
       "named": [{"fault": "kill", "origin": 1, "at": 3, "until": 8, "after": None, "said": None, "excused": False}],
       "worst": [{"second": 29, "failed": 1, "kinds": {"reset": 1}, "ill": ["kill (origin 1, 3 to 8 s)"]}],
       "out": [(1, 4.0, 9.0)], "reloads": 2, "reloaded_at": [7.5], "version": 3, "busy_percent": [50.0, 0.0]}
ABOUT = {"seconds": 30, "rate": 10, "post_rate": 5, "reloads": 2, "seed": 1, "timeout": 5, "rows": script.generate(1, 30), "machine": "one."}


class Report(unittest.TestCase):
    def test_a_failure_is_never_rounded_away(self):
        self.assertEqual(report.percent(1.0), "100 %")
        self.assertEqual(report.percent(0.9999999), "99.999 %")
        self.assertEqual(report.percent(0.9), "90 %")

    def test_markdown_has_the_figures(self):
        text = report.markdown([RUN], ABOUT)
        for part in ("| edge 1 <x> | 99 % | 100 | 1 | 1 of 100 |", "12 ms | 1.20 s | reset 1", "POST h1-7 was seen 2 times",
                     "| kill | 1 | 3 | never |", "none really", "| 29 | 1 | reset 1 | kill (origin 1"):
            self.assertIn(part, text)

    def test_the_plot_is_xml_and_shows_each_failure(self):
        root = xml.etree.ElementTree.fromstring(report.plot(RUN, ABOUT["rows"], 30))
        bars = [r.get("class") for r in root.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertEqual((bars.count("good"), bars.count("bad"), bars.count("out")), (30, 1, 1))

    def test_the_page_escapes_what_servers_say(self):
        self.assertNotIn("<x>", report.page([RUN], ABOUT))


class Settings(unittest.TestCase):
    VALUES = {"user": "u", "group": "g", "dir": "/d", "cert": "/c", "key": "/k", "pem": "/p", "h1": 1, "tls": 2,
              "endpoint": [11, 12, 13, 14], "version": 5}

    def test_every_server_gets_all_origins(self):
        for marks in ((), ("h3", "http2_directive", "quic_bpf", "quic_by_openssl_compat")):
            for name in servers.FILES.values():
                with open(os.path.join(servers.SETTINGS, name)) as f:
                    text = template.render(f.read(), {**self.VALUES, **dict.fromkeys(marks, True)})
                for port in self.VALUES["endpoint"]:
                    self.assertIn(f"127.0.0.1:{port}", text, name)

    def test_no_id_is_needed_twice(self):
        self.assertGreater(clients.ids_needed(50, 300), 50 * (300 + clients.WARMUP_S))


class Status(unittest.TestCase):
    def test_endpoints_are_found_by_their_ports(self):
        said = [{"name": "http://127.0.0.1:8001", "state": "ejected"}, {"name": "http://127.0.0.1:8002", "state": "usable"}]
        status = {"pools": [{"name": "origins", "endpoints": said}]}
        found = watch.endpoints(status)
        self.assertEqual([watch.is_out(found.get(p)) for p in ("8001", "8002", "8003")], [True, False, False])
        self.assertEqual(watch.endpoints({}), {})
