"""Decodes requests of OTLP with OpenTelemetry's own messages.

Reads a body in hexadecimal digits from each line of standard input, compressed with gzip or not, and prints a line of JSON for it: the
attributes of the resource, and a list of points, each with all that a receiver knows of it. Ends with an error at a field that the
messages do not have.
"""

import gzip
import json
import sys

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

GZIP = b"\x1f\x8b"


def check(message):
    """Refuses unknown fields, in all messages of a message."""
    unknown = [field.field_number for field in UnknownFieldSet(message)]
    if unknown:
        sys.exit(f"{message.DESCRIPTOR.name} has unknown fields: {unknown}")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                check(part)


def attributes(pairs):
    """Attributes as an object, none of which is there twice."""
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if pair.key in found or kind not in ("string_value", "int_value"):
            sys.exit(f"attribute {pair.key} is there twice, or its value is {kind}")
        found[pair.key] = getattr(pair.value, kind)
    return found


def value(point, kind):
    """The fields of a point with measured numbers."""
    if kind in ("gauge", "sum"):
        field = point.WhichOneof("value")
        return {} if field is None else {field: getattr(point, field)}
    if kind == "histogram":
        numbers = {"count": point.count, "bucket_counts": list(point.bucket_counts), "bounds": list(point.explicit_bounds)}
        return numbers | ({"sum": point.sum} if point.HasField("sum") else {})
    quantiles = [[quantile.quantile, quantile.value] for quantile in point.quantile_values]
    return {"count": point.count, "sum": point.sum, "quantiles": quantiles}


def points(request):
    """All points of a request."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                about = {"name": metric.name, "unit": metric.unit, "description": metric.description, "kind": kind}
                about |= {"scope": scope.scope.name, "version": scope.scope.version, "schema": scope.schema_url}
                if kind in ("sum", "histogram"):
                    name = AggregationTemporality.Name(data.aggregation_temporality)
                    about["temporality"] = name.removeprefix("AGGREGATION_TEMPORALITY_").lower()
                if kind == "sum":
                    about["monotonic"] = data.is_monotonic
                for point in data.data_points:
                    times = {"time": point.time_unix_nano, "start": point.start_time_unix_nano, "flags": point.flags}
                    yield about | {"attributes": attributes(point.attributes)} | times | value(point, kind)


def main():
    for line in sys.stdin:
        body = bytes.fromhex(line)
        request = ExportMetricsServiceRequest.FromString(gzip.decompress(body) if body.startswith(GZIP) else body)
        check(request)
        resources = [attributes(metrics.resource.attributes) for metrics in request.resource_metrics]
        schemas = [metrics.schema_url for metrics in request.resource_metrics]
        print(json.dumps({"resources": resources, "schemas": schemas, "points": list(points(request))}), flush=True)


main()
