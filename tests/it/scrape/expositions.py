"""Random expositions, and what Prometheus' own parsers for Python read in expositions.

expositions.py write DIRECTORY SEED COUNT: writes COUNT files of each format, <number>.text and <number>.openmetrics.
expositions.py read FILE...: prints a line of JSON for each file: `metrics` (name, labels, value), `kinds`, `helps` and `units` by the
name that the metric has in a sample of the agent, or `error`.
"""

import json
import math
import random
import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

TEXTS = ["", "a", "two words", 'quo"te', "back\\slash", "new\nline", "\\n", "é\U0001f980", "{a=\"b\",c}", "# x", "a,b=c", "}", " ", "\t"]
NUMBERS = [
    "0", "1", "-1", "+1", "42.0", "0.1", "1e3", "1E-3", "1.5e+300", "5e-324", "2.2250738585072014e-308", "9007199254740993",
    "18446744073709551616", "123456789012345678901234567890", "-0", "-0.0", "1.", ".5", "1e-400", "179769313486231570000000000000e279",
    "+Inf", "-Inf", "NaN", "Inf", "inf", "nan", "3.141592653589793238462643", "0.30000000000000004",
]


def escaped(value):
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Writer:
    """One exposition."""

    def __init__(self, choose, is_openmetrics):
        self.choose = choose
        self.is_openmetrics = is_openmetrics
        self.lines = []

    def blank(self, least=1):
        if self.is_openmetrics:
            return " " * least
        return "".join(self.choose.choice(" \t") for _ in range(self.choose.randint(least, 3)))

    def number(self, is_count=False):
        if is_count:
            return self.choose.choice(["0", "1", "17.0", "2e3", str(self.choose.randint(0, 1 << 50))])
        if self.choose.random() < 0.5:
            return repr(self.choose.choice([self.choose.uniform(-1e6, 1e6), self.choose.randint(0, 1 << 60) * 1.0]))
        return self.choose.choice(NUMBERS)

    def labels(self):
        names = self.choose.sample(["a", "b", "_c", "D1", "zone"], self.choose.randint(0, 3))
        return [(name, self.choose.choice(TEXTS)) for name in names]

    def label_sets(self, most):
        """Different ones, whatever their order."""
        sets = {tuple(sorted(labels)): labels for labels in (self.labels() for _ in range(self.choose.randint(1, most)))}
        return list(sets.values())

    def sample(self, name, labels, value, timestamp=""):
        text = name
        if labels or self.choose.random() < 0.1:
            pairs = [f'{label}="{escaped(own)}"' for label, own in labels]
            comma = "," if pairs and not self.is_openmetrics and self.choose.random() < 0.2 else ""
            text += "{" + ",".join(pairs) + comma + "}"
        exemplar = ""
        if self.is_openmetrics and name.endswith(("_total", "_bucket")) and self.choose.random() < 0.3:
            exemplar = ' # {trace_id="x } # 1"} 0.5'
        self.lines.append(text + self.blank() + value + (self.blank() + timestamp if timestamp else "") + exemplar)

    def comment(self, keyword, name, text):
        self.lines.append(f"# {keyword} {name} {text}")

    def family(self, name):
        kinds = ["gauge", "counter", "histogram", "summary", "unknown" if self.is_openmetrics else "untyped"]
        if self.is_openmetrics:
            # A state is in a label of the metric's name, which may have no colon.
            kinds += ["info", "gaugehistogram"] + ([] if ":" in name else ["stateset"])
        kind = self.choose.choice(kinds)
        unit = self.choose.choice(["", "", "seconds", "bytes"]) if kind not in ("info", "stateset") else ""
        name += "_" + unit if unit else ""
        base = name + "_total" if kind == "counter" and not self.is_openmetrics and self.choose.random() < 0.7 else name
        comments = [("TYPE", kind)] if self.is_openmetrics or self.choose.random() < 0.9 or kind in ("histogram", "summary") else []
        if unit and self.is_openmetrics:
            comments.append(("UNIT", unit))
        if self.choose.random() < 0.7:
            help_text = "Help of " + self.choose.choice(["it.", "\\\\ and \\n.", "é # x."])
            comments.append(("HELP", help_text))
        self.choose.shuffle(comments)
        for keyword, text in comments:
            self.comment(keyword, base, text)
        for labels in self.label_sets(4):
            self.samples(kind, base, labels)

    def samples(self, kind, name, labels):
        is_timed = self.choose.random() < 0.1
        # In OpenMetrics all samples of a metric have one, or none.
        timestamp = ("1700000000.123" if self.is_openmetrics else "1700000000123") if is_timed and kind != "counter" else ""
        if kind in ("histogram", "gaugehistogram"):
            self.buckets(kind, name, labels)
        elif kind == "summary":
            for share in sorted(self.choose.sample(["0.1", "0.5", "0.9", "0.99", "1"], self.choose.randint(0, 3))):
                value = self.choose.choice(["NaN", "0.5", "17"])
                self.sample(name, labels + [("quantile", share)], value)
            self.sample(name + "_sum", labels, self.choose.choice(["0", "12.5", "1e9"]))
            self.sample(name + "_count", labels, self.number(True))
            self.created(name, labels)
        elif kind == "counter":
            value = self.choose.choice(["0", "12.5", "1e300", "9007199254740993", repr(self.choose.uniform(0, 1e9))])
            self.sample(name + "_total" if self.is_openmetrics else name, labels, value, timestamp)
            self.created(name, labels)
        elif kind == "info":
            self.sample(name + "_info", labels, "1")
        elif kind == "stateset":
            for state in ["on", "off"]:
                self.sample(name, labels + [(name, state)], self.choose.choice(["0", "1"]))
        else:
            self.sample(name, labels, self.number(), timestamp)

    def created(self, name, labels):
        if self.is_openmetrics and self.choose.random() < 0.5:
            self.sample(name + "_created", labels, "1520430000.123")

    def buckets(self, kind, name, labels):
        bounds = sorted(self.choose.sample([0.005, 0.1, 0.25, 1.0, 2.5, 10.0, 1e6], self.choose.randint(0, 5)))
        counts, total = [], 0
        for _ in bounds:
            total += self.choose.randint(0, 100)
            counts.append(total)
        total += self.choose.randint(0, 100)
        for bound, count in zip(bounds, counts):
            self.sample(name + "_bucket", labels + [("le", repr(bound))], str(count))
        self.sample(name + "_bucket", labels + [("le", "+Inf")], str(total))
        middle = "g" if kind == "gaugehistogram" else ""
        self.sample(f"{name}_{middle}sum", labels, self.choose.choice(["0", "4.5", "1e9"]))
        self.sample(f"{name}_{middle}count", labels, str(total))
        if kind == "histogram":
            self.created(name, labels)


def exposition(seed, is_openmetrics):
    choose = random.Random(seed)
    writer = Writer(choose, is_openmetrics)
    for number in range(choose.randint(1, 8)):
        writer.family(choose.choice(["a", "b:c", "_d", "E9"]) + str(number))
        if not is_openmetrics and choose.random() < 0.3:
            writer.lines.append(choose.choice(["", "#", "# a comment", "  ", "# EOF", "# TYPED x"]))
    if is_openmetrics:
        writer.lines.append("# EOF")
    return "\n".join(writer.lines) + "\n"


def is_left_out(family, sample, is_openmetrics):
    """Whether a sample of the agent has no such value: the moment of creation, and what is not finite."""
    is_created = is_openmetrics and sample.name.endswith("_created") and family.type in ("counter", "histogram", "summary")
    return is_created or not math.isfinite(sample.value)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    is_openmetrics = path.endswith(".openmetrics")
    names = set(re.findall(r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)", text, re.MULTILINE))
    metrics, kinds, helps, units = [], {}, {}, {}
    try:
        for family in (read_openmetrics if is_openmetrics else read_text)(text):
            for sample in family.samples:
                name = sample.name
                # The parser of the text format gives all counters this end.
                if not is_openmetrics and name not in names and name.endswith("_total"):
                    name = name[: -len("_total")]
                is_whole = family.type in ("histogram", "summary")
                metric = family.name if is_whole else name
                kinds[metric] = family.type if is_whole or family.type == "counter" else "gauge"
                helps[metric] = family.documentation
                units[metric] = family.unit
                if not is_left_out(family, sample, is_openmetrics):
                    metrics.append([name, sorted(sample.labels.items()), sample.value])
    except Exception as error:
        return {"error": repr(error)}
    return {"metrics": metrics, "kinds": kinds, "helps": helps, "units": units}


def main():
    if sys.argv[1] == "write":
        directory, seed, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        for number in range(count):
            for suffix in ["text", "openmetrics"]:
                with open(f"{directory}/{number}.{suffix}", "w", encoding="utf-8", newline="") as file:
                    file.write(exposition(f"{seed} {number}", suffix == "openmetrics"))
    else:
        for path in sys.argv[2:]:
            print(json.dumps(read(path)))


main()
