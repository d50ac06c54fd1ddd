"""Tests of measure.py, for any Python: `python3 -m unittest`."""

import unittest

import measure


class Parse(unittest.TestCase):
    def test_metrics_are_found_among_other_lines(self) -> None:
        text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n"
        self.assertEqual(measure.parse(text), {"forks_total": 1500, "running": 3, "blocked": 1})

    def test_missing_metrics_are_left_out(self) -> None:
        self.assertEqual(measure.parse("cpu 1 2 3\n\nprocs_running_or_not 1\n"), {})

    def test_value_that_is_not_a_number_fails(self) -> None:
        with self.assertRaises(ValueError):
            measure.parse("processes many\n")

    def test_names_of_counters_end_in_total(self) -> None:
        for metric in measure.METRICS:
            self.assertEqual(metric.kind == "counter", metric.name.endswith("_total"), metric)


if __name__ == "__main__":
    unittest.main()
