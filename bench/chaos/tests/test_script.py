"""The script: the same for a seed, somebody always well, every kind of fault in it."""
import unittest

import script


class Script(unittest.TestCase):
    def test_somebody_is_well_in_every_second_of_every_script(self):
        for seconds in (script.SECONDS_MIN, 30, 60, 300):
            for seed in range(200):
                rows = script.generate(seed, seconds)
                for second in range(seconds):
                    self.assertLessEqual(len(script.ill_at(rows, second)), script.ILL_MAX, (seed, seconds, second))
        self.assertLess(script.ILL_MAX, script.ORIGINS)

    def test_two_are_well_most_of_the_time(self):
        for seed in range(50):
            rows = script.generate(seed, 300)
            one_well = sum(len(script.ill_at(rows, s)) == 3 for s in range(300))
            ill = sum(bool(script.ill_at(rows, s)) for s in range(300))
            self.assertLess(one_well, 60, seed)
            self.assertGreater(ill, 240, seed)

    def test_an_origin_has_one_fault_at_a_time_and_a_second_of_health_between_two(self):
        for seed in range(200):
            last = {}
            for row in script.generate(seed, 300):
                self.assertGreater(row.at, last.get(row.origin, -1), (seed, row))
                self.assertGreater(row.until, row.at)
                last[row.origin] = row.until

    def test_a_long_script_has_every_fault_long_enough_to_be_told(self):
        for seed in range(50):
            rows = script.generate(seed, 300)
            self.assertEqual({r.fault.name for r in rows if r.seconds >= script.TOLD_FROM_S}, {f.name for f in script.FAULTS}, seed)

    def test_it_begins_and_ends_with_everybody_well(self):
        for seed in range(50):
            rows = script.generate(seed, 300)
            self.assertGreaterEqual(min(r.at for r in rows), script.LEAD_S)
            self.assertLessEqual(max(r.until for r in rows), 300 - script.TAIL_S)

    def test_a_seed_makes_one_script(self):
        self.assertEqual(script.generate(7, 300), script.generate(7, 300))
        self.assertNotEqual(script.generate(7, 300), script.generate(8, 300))

    def test_reloads_are_even(self):
        self.assertEqual(script.reloads(300, 20)[:2], [7.5, 22.5])
        self.assertEqual(len(script.reloads(300, 20)), 20)
        self.assertEqual(script.reloads(30, 0), [])

    def test_the_table_has_a_line_for_each_row(self):
        rows = script.generate(1, 30)
        self.assertEqual(len(script.table(rows)), len(rows) + 2)
