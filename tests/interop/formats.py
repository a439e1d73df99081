"""Reads what loadgen writes with the readers of other people, and says what they read. One JSON object on standard output.

    formats.py hlog FILE             HdrHistogram's own port to Python
    formats.py openmetrics FILE      the parser of Prometheus' client library
    formats.py junit FILE SCHEMA     xmlschema with the schema, and junitparser
"""

import json
import sys


def hlog(path):
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogReader

    reader = HistogramLogReader(path, HdrHistogram(1, 600_000_000, 3))
    by_tag = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        tag = by_tag.setdefault(histogram.get_tag(), [])
        tag.append({
            "n": histogram.get_total_count(),
            "p50_ms": histogram.get_value_at_percentile(50) / 1e3,
            "max_ms": histogram.get_max_value() / 1e3,
            "start_ms": histogram.get_start_time_stamp(),
        })
    return by_tag


def openmetrics(path):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    with open(path, encoding="utf-8") as file:
        families = list(text_string_to_metric_families(file.read()))
    return {
        family.name: {
            "type": family.type,
            "unit": family.unit,
            "documented": bool(family.documentation),
            "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
        }
        for family in families
    }


def junit(path, schema):
    import junitparser
    import xmlschema

    errors = [str(error.reason) for error in xmlschema.XMLSchema(schema).iter_errors(path)]
    suites = list(junitparser.JUnitXml.fromfile(path))
    cases = {case.name: [type(result).__name__ for result in case.result] for suite in suites for case in suite}
    return {"errors": errors, "suites": len(suites), "cases": cases}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"hlog": hlog, "openmetrics": openmetrics, "junit": junit}[what](*arguments)))
