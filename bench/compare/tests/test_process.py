"""Processes end with all their children, and what they used is seen."""
import os
import sys
import tempfile
import unittest

import machine
import process

#: A child that works, and says when it is there.
BUSY = "import os, time\nif os.fork() == 0:\n  end = time.process_time() + 0.05\n  while time.process_time() < end: pass\n  open('ready', 'w').close()\ntime.sleep(60)"


class Trees(unittest.TestCase):
    def test_children_are_counted_and_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            tree = process.Tree([sys.executable, "-c", BUSY], machine_core(), folder, name="busy")
            try:
                before = tree.cpu_us()
                tree.wait_for(lambda: os.path.exists(os.path.join(folder, "ready")), "child")
                self.assertEqual(len(tree.members()), 2)
                self.assertGreater(process.spent(before, tree.cpu_us()), 40_000)
                self.assertGreater(tree.memory_kib(), 100)
            finally:
                tree.stop()
            self.assertEqual(tree.members(), [])

    def test_a_program_that_ends_at_once_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            tree = process.Tree([sys.executable, "-c", "raise SystemExit('no such luck')"], machine_core(), folder)
            with self.assertRaisesRegex(process.StartError, "no such luck"):
                tree.wait_for(lambda: False, "answer")
            tree.stop()

    def test_a_free_port_is_not_listened_on(self):
        self.assertFalse(process.listens(process.free_port()))

    def test_figures_of_threads_that_are_new_count_whole(self):
        self.assertEqual(process.spent({(1, 1): 5.0, (1, 2): 9.0}, {(1, 1): 7.0, (1, 3): 4.0}), 6.0)


class Bounds(unittest.TestCase):
    def test_server_and_client_need_a_core_each(self):
        allowed = sorted(os.sched_getaffinity(0))
        with self.assertRaises(SystemExit):
            machine.Cores(allowed[0], allowed[0])


def machine_core():
    return min(os.sched_getaffinity(0))


if __name__ == "__main__":
    unittest.main()
