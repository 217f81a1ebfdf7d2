"""What programs and the kernel say, as figures."""
import json
import unittest

import generators
import machine
import peers
from load import Ask, Found, LoadError, complaint

H2LOAD = """
Application protocol: h2
finished in 3.01s, 110000.00 req/s, 110.0MB/s
requests: 330100 total, 330612 started, 330000 done, 329990 succeeded, 10 failed, 10 errored, 0 timeout
status codes: 330100 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 330.00MB (346030080) total, 2.00MB (2097152) headers (space savings 90%), 322.30MB (337909760) data
"""
OHA = {"statusCodeDistribution": {"200": 900, "503": 5}, "errorDistribution": {"aborted due to deadline": 12, "closed": 3},
       "summary": {"total": 2.0, "totalData": 921600}, "latencyPercentiles": {"p50": 0.001, "p99": 0.0025}}
OUTCOME = {"counts": {"answered": 1000, "body_bytes": 1024000, "faults": {"status": 2, "reset": 1}}, "seconds": 3.0,
           "times": {"response": {"p50": 90, "p99": 400}}, "generator": [{"cpu_us": 7000}, {"cpu_us": 1000}],
           "server_cpu_us": 12345, "verdict": {"valid": False, "reasons": ["it was too slow"]}}


class Generators(unittest.TestCase):
    def test_h2load(self):
        found = generators.read_h2load(H2LOAD, "h2", 1e6)
        self.assertEqual((found.answered, found.failed, found.seconds, found.body_bytes), (329990, 10, 3.01, 337909760))

    def test_h2load_that_spoke_something_else(self):
        with self.assertRaisesRegex(LoadError, "http/1.1 was spoken"):
            generators.read_h2load(H2LOAD.replace("protocol: h2", "protocol: http/1.1"), "h2", 1e6)

    def test_h2load_counts_heads_of_answers_that_did_not_end(self):
        self.assertEqual(generators.read_h2load(H2LOAD, "h2", 1e6).answered, 329990)
        refused = H2LOAD.replace("330100 2xx, 0 3xx, 0 4xx", "329900 2xx, 0 3xx, 90 4xx")
        self.assertEqual(generators.read_h2load(refused, "h2", 1e6).failed, 100)

    def test_oha_and_what_the_end_cut_off(self):
        found = generators.read_oha(OHA, 5.0)
        self.assertEqual((found.answered, found.failed, found.p99_us), (900, 8, 2500.0))

    def test_edge_bench(self):
        found = generators.read_outcome(json.loads(json.dumps(OUTCOME)), 1.0)
        self.assertEqual((found.answered, found.failed, found.generator_us, found.server_us), (998, 3, 8000, 12345))
        self.assertEqual((found.invalid, found.faults), ("it was too slow", "status 2, reset 1"))

    def test_a_script_for_wrk_quotes_what_it_is_given(self):
        script = generators.wrk_script(Ask("http://h", ('/a"b\\',), fields=(("x-a", "1"),)))
        self.assertIn(r'{"/a\"b\\"}', script)
        self.assertIn('{["x-a"]="1"}', script)
        self.assertIn("at % #made", script)


class Complaints(unittest.TestCase):
    ask = Ask("http://h", ("/",), size=1024)

    def test_good_answers(self):
        self.assertEqual(complaint(Found(1000, 0, 1.0, 1024000, 1.0), self.ask), "")

    def test_no_answers(self):
        self.assertIn("no answer at all (reset 5)", complaint(Found(0, 5, 1.0, 0, 1.0, faults="reset 5"), self.ask))

    def test_failures(self):
        self.assertIn("20 of 1020 failed", complaint(Found(1000, 20, 1.0, 1024000, 1.0), self.ask))

    def test_answers_of_another_size(self):
        self.assertIn("512 bytes instead of 1024", complaint(Found(1000, 0, 1.0, 512000, 1.0), self.ask))


class Machine(unittest.TestCase):
    def test_idle_time_is_not_work_and_steal_stands_alone(self):
        busy, stolen = machine.parse_busy("cpu  100 10 50 9999 888 5 6 7 3 0")
        self.assertEqual((busy, stolen), (171 * machine.TICK_US, 7 * machine.TICK_US))

    def test_a_quiet_machine_is_not_waited_for(self):
        self.assertGreaterEqual(machine.wait_for_quiet(1e9, 0), 0)


class Versions(unittest.TestCase):
    def test_as_programs_say_them(self):
        said = {"nginx version: nginx/1.22.1": "1.22.1", "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/": "2.6.12",
                "h2o version 2.2.5\nOpenSSL: 3.0": "2.2.5", "nghttpx nghttp2/1.52.0": "1.52.0", "2.6.2": "2.6.2", "v2.8.4 h1:abc=": "2.8.4",
                "\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL": "1.40.0", "edge 0.1.0": "0.1.0"}
        for text, number in said.items():
            self.assertEqual(peers.short_version("x", text), number)


if __name__ == "__main__":
    unittest.main()
