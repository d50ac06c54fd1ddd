"""Tests of measure.py, for any Python: `python3 -m unittest`."""

import unittest

import measure


class Parse(unittest.TestCase):
    def test_numbers_are_found_among_other_lines(self) -> None:
        text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n"
        found = measure.parse(text, "processes", "procs_running", "missing")
        self.assertEqual(found, {"processes": 1500, "procs_running": 3})

    def test_missing_numbers_are_left_out(self) -> None:
        self.assertEqual(measure.parse("cpu 1 2 3\n\nprocs_running_or_not 1\n", "procs_running"), {})

    def test_value_that_is_not_a_number_fails(self) -> None:
        with self.assertRaises(ValueError):
            measure.parse("processes many\n", "processes")

    def test_names_of_counters_end_in_total(self) -> None:
        for metric in measure.METRICS:
            self.assertEqual(metric.kind == "counter", metric.name.endswith("_total"), metric)


class Rate(unittest.TestCase):
    def test_rate_needs_two_ticks_and_survives_a_reset(self) -> None:
        rate = measure.Rate()
        steps = [(100, 1, None), (110, 3, 5.0), (7, 4, None), (8, 5, 1.0)]
        for count, seconds, expected in steps:
            self.assertEqual(rate.per_second(count, seconds * 1_000_000_000), expected)


if __name__ == "__main__":
    unittest.main()
