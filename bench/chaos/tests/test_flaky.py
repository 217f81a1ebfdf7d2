"""The origin that misbehaves: each order, as a client sees it, and what it writes down."""
import http.client
import json
import os
import socket
import sys
import tempfile
import time
import unittest

import cluster
import process
import script

PATIENCE_S = 10
#: Nothing more comes from a connection that is quiet for so long. Only to see that nothing does come.
QUIET_S = 0.2


class Flaky(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = process.free_port()
        self.log, self.control = (os.path.join(self.folder.name, name) for name in ("seen", "control"))
        self.tree = process.Tree([sys.executable, "-S", "-E", cluster.FLAKY, "--port", str(self.port), "--control", self.control, "--log", self.log],
                                 None, self.folder.name)
        self.tree.wait_for(lambda: process.listens(self.port), "answer")

    def tearDown(self):
        self.tree.stop()
        self.folder.cleanup()

    def order(self, **order):
        """It is read before any connection that is made after it: that is accepted first, and read in the next round."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(json.dumps(order).encode(), self.control)

    def ask(self, path="/", method="GET"):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            client.request(method, path, b"body" if method == "POST" else None)
            return client.getresponse().status
        finally:
            client.close()

    def open(self, path):
        s = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return s

    def seen(self):
        with open(self.log) as f:
            return [line.split()[1:] for line in f]

    def test_every_fault_of_the_script_is_an_order_that_it_knows(self):
        for fault in script.FAULTS:
            if fault.how == "order":
                self.order(**fault.order)
        self.order(**script.WELL)
        self.assertEqual(self.ask(), 200)
        self.assertNotIn("not understood", self.tree.said())

    def test_statuses_and_gray_checks(self):
        self.order(do="status", status=500, gray=True)
        self.assertEqual((self.ask(), self.ask("/healthz")), (500, 200))
        self.order(do="status", status=503)
        self.assertEqual((self.ask(), self.ask("/healthz")), (503, 503))

    def test_garbage_is_no_http(self):
        self.order(do="garbage")
        with self.assertRaises(http.client.HTTPException):
            self.ask()

    def test_a_reset_is_one(self):
        self.order(do="reset")
        with self.open("/") as s, self.assertRaises(ConnectionResetError):
            s.recv(1)

    def test_who_is_mute_has_seen_the_request_and_answers_when_well_again(self):
        self.order(do="mute")
        with self.open("/?id=held") as s:
            self._eventually_seen([["GET", "held", "mute"]])
            self._say_nothing(s)
            self.order(do="well")
            s.settimeout(PATIENCE_S)
            self.assertIn(b" 200 ", s.recv(100))

    def test_who_is_deaf_sees_the_request_only_when_well_again(self):
        self.order(do="deaf")
        with self.open("/?id=late") as s:
            self._say_nothing(s)
            self.assertEqual(self.seen(), [])
            self.order(do="well")
            s.settimeout(PATIENCE_S)
            self.assertIn(b" 200 ", s.recv(100))
        self.assertEqual(self.seen(), [["GET", "late", "well"]])

    def test_hanging_up_follows_an_answer(self):
        self.order(do="hangup")
        with self.open("/") as s:
            data = b""
            while piece := s.recv(4096):
                data += piece
        self.assertIn(b" 200 ", data)
        self.assertNotIn(b"close", data.lower())

    def test_each_request_is_a_line_whoever_is_killed(self):
        self.assertEqual(self.ask("/?id=p-1", "POST"), 200)
        self.ask("/healthz")
        self.tree.process.kill()
        self.assertEqual(self.seen(), [["POST", "p-1", "well"], ["GET", "check", "well"]])

    def _eventually_seen(self, lines):
        deadline = time.monotonic() + PATIENCE_S
        while self.seen() != lines and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertEqual(self.seen(), lines)

    def _say_nothing(self, s):
        s.settimeout(QUIET_S)
        with self.assertRaises(TimeoutError):
            s.recv(1)
