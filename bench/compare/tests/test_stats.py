"""Which samples count, and when there is a ratio."""
import unittest

import stats


def sample(number, cost, others=1.0, attempt=0, **more):
    return {"round": number, "attempt": attempt, "cost_us": cost, "others_percent": others, "steal_percent": 0.0, **more}


class Judgement(unittest.TestCase):
    def test_a_sample_with_others_is_dirty(self):
        self.assertTrue(stats.is_clean(sample(0, 10, others=8.0)))
        self.assertFalse(stats.is_clean(sample(0, 10, others=8.1)))
        self.assertIn("others used 50 %", stats.why_not(sample(0, 10, others=50)))

    def test_what_was_stolen_counts_with_what_others_used(self):
        self.assertFalse(stats.is_clean({**sample(0, 10, others=5.0), "steal_percent": 4.0}))

    def test_a_failed_or_invalid_sample_does_not_count(self):
        self.assertEqual(stats.why_not({"failed": "no answer", "round": 0, "attempt": 0}), "no answer")
        self.assertEqual(stats.why_not(sample(0, 10, invalid="the schedule slipped")), "the schedule slipped")

    def test_of_a_round_the_clean_attempt_counts(self):
        best = stats.best_of_round([sample(0, 99, others=40), sample(0, 10, attempt=1), sample(1, 99, others=40)])
        self.assertEqual({r: s["cost_us"] for r, s in best.items()}, {0: 10})


class Ratios(unittest.TestCase):
    def test_rounds_are_paired(self):
        # The machine was twice as slow in the second round, for both: the ratio is the same.
        r = stats.ratio([sample(0, 8), sample(1, 16)], [sample(0, 10), sample(1, 20)], "cost_us")
        self.assertAlmostEqual(r.range.median, 0.8)
        self.assertAlmostEqual(r.range.low, r.range.high)
        self.assertEqual(r.range.count, 2)

    def test_median_and_spread(self):
        ours = [sample(n, cost) for n, cost in enumerate([9, 10, 13])]
        r = stats.ratio(ours, [sample(n, 10) for n in range(3)], "cost_us").range
        self.assertEqual((r.median, r.low, r.high), (1.0, 0.9, 1.3))

    def test_one_clean_round_is_not_enough(self):
        r = stats.ratio([sample(0, 8), sample(1, 8)], [sample(0, 10), sample(1, 10, others=30)], "cost_us")
        self.assertIsNone(r.range)
        self.assertEqual(r.refused, "disturbed")

    def test_clean_samples_of_different_rounds_make_no_pair(self):
        ours = [sample(0, 8), sample(1, 8), sample(2, 8, others=30), sample(3, 8, others=30)]
        theirs = [sample(0, 9, others=30), sample(1, 9, others=30), sample(2, 9), sample(3, 9)]
        self.assertEqual(stats.ratio(ours, theirs, "cost_us").refused, "disturbed")

    def test_a_server_that_always_fails_is_not_called_disturbed(self):
        failed = [{"failed": "no answer", "round": n, "attempt": 0} for n in range(3)]
        self.assertEqual(stats.ratio([sample(n, 8) for n in range(3)], failed, "cost_us").refused, "failed")

    def test_a_figure_that_nobody_took(self):
        both = [sample(n, 8) for n in range(3)]
        self.assertEqual(stats.ratio(both, both, "p99_us").refused, "no figure")


if __name__ == "__main__":
    unittest.main()
