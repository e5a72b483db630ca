#!/usr/bin/env python3
"""An OTLP metrics receiver that prints what it decoded, as JSON lines. For tests.

In:  OTLP/gRPC and OTLP/HTTP (protobuf, POST /v1/metrics), plain or gzip, with or without TLS.
Out: on stdout (or --output FILE), first where it listens:
         {"grpc": "127.0.0.1:PORT", "http": "127.0.0.1:PORT"}
     then one line for each request, in the order in which they were answered:
         {"transport": "grpc" | "http/protobuf", "encoding": "identity" | "gzip", "headers": {...}, "bytes": N,
          "resource": {...}, "scope": {"name": ..., "version": ...},
          "metrics": [{"name", "unit", "description", "kind", "temporality", "monotonic", "points": [...]}]}
     kind is sum, gauge, histogram or exponential_histogram; temporality is cumulative or delta (null for a gauge).
     A point has "attributes", "start_unix_ns", "unix_ns" and
         sum, gauge:             "value" (an int where the sender sent an int)
         histogram:              "count", "sum", "min", "max" (null where absent), "bounds", "bucket_counts"
         exponential_histogram:  "count", "sum", "min", "max", "scale", "zero_count", "offset", "bucket_counts"
     Each line is flushed before its request is answered.
Refuses: requests it cannot decode (HTTP 400, gRPC INTERNAL), other paths (404), other content types (415).

Usage: venv=$(tests/tools/venv.sh) && "$venv/bin/python" tests/tools/otlp_receiver.py [--output FILE]
           [--grpc-port 0] [--http-port 0] [--tls-cert PEM --tls-key PEM [--client-ca PEM]] [--reject N]
       --client-ca makes clients show a certificate. --reject N answers every request with partial_success, N points
       rejected. Ends on SIGTERM or SIGINT.
The decoding is Google's protobuf and the OpenTelemetry project's own generated messages: nothing of gpu-agent's.
"""

import argparse
import gzip
import json
import signal
import ssl
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.metrics.v1 import metrics_pb2

TEMPORALITY = {
    metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
    metrics_pb2.AGGREGATION_TEMPORALITY_DELTA: "delta",
}


def any_value(value):
    """The Python value of an AnyValue."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [any_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes(pairs):
    """Attributes as a dictionary; a key that comes twice is an error."""
    result = {}
    for pair in pairs:
        if pair.key in result:
            raise DecodeError(f"attribute {pair.key} comes twice")
        result[pair.key] = any_value(pair.value)
    return result


def optional(point, field):
    """An optional field, None where it was not sent."""
    return getattr(point, field) if point.HasField(field) else None


def times(point):
    """What all points have."""
    return {
        "attributes": attributes(point.attributes),
        "start_unix_ns": point.start_time_unix_nano,
        "unix_ns": point.time_unix_nano,
    }


def number(point):
    """A NumberDataPoint."""
    return {**times(point), "value": getattr(point, point.WhichOneof("value"))}


def distribution(point):
    """What both kinds of histogram points have."""
    return {
        **times(point),
        "count": point.count,
        "sum": optional(point, "sum"),
        "min": optional(point, "min"),
        "max": optional(point, "max"),
    }


def histogram(point):
    """A HistogramDataPoint."""
    return {
        **distribution(point),
        "bounds": list(point.explicit_bounds),
        "bucket_counts": list(point.bucket_counts),
    }


def exponential_histogram(point):
    """An ExponentialHistogramDataPoint without negative values."""
    return {
        **distribution(point),
        "scale": point.scale,
        "zero_count": point.zero_count,
        "offset": point.positive.offset,
        "bucket_counts": list(point.positive.bucket_counts),
    }


POINT = {
    "sum": number,
    "gauge": number,
    "histogram": histogram,
    "exponential_histogram": exponential_histogram,
}


def metric(message):
    """A Metric."""
    kind = message.WhichOneof("data")
    data = getattr(message, kind)
    return {
        "name": message.name,
        "unit": message.unit,
        "description": message.description,
        "kind": kind,
        "temporality": None if kind == "gauge" else TEMPORALITY[data.aggregation_temporality],
        "monotonic": data.is_monotonic if kind == "sum" else None,
        "points": [POINT[kind](point) for point in data.data_points],
    }


class Journal:
    """Where the lines go."""

    def __init__(self, output, reject):
        self.output = output
        self.reject = reject
        self.lock = threading.Lock()

    def write(self, record):
        """One line, flushed."""
        with self.lock:
            self.output.write(json.dumps(record) + "\n")
            self.output.flush()

    def take(self, request, about):
        """Writes a request down and makes its answer."""
        for resource_metrics in request.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                self.write(
                    {
                        **about,
                        "resource": attributes(resource_metrics.resource.attributes),
                        "scope": {"name": scope_metrics.scope.name, "version": scope_metrics.scope.version},
                        "metrics": [metric(message) for message in scope_metrics.metrics],
                    }
                )
        answer = service.ExportMetricsServiceResponse()
        if self.reject:
            answer.partial_success.rejected_data_points = self.reject
            answer.partial_success.error_message = "rejected, as --reject asks"
        return answer


def grpc_server(journal, options):
    """The gRPC receiver, started."""

    def export(raw, context):
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        about = {
            "transport": "grpc",
            # grpcio decodes the message before it gets here and hides the header with which it was announced.
            "encoding": "unknown",
            "headers": headers,
            "bytes": len(raw),
        }
        return journal.take(service.ExportMetricsServiceRequest.FromString(raw), about)

    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 4 << 20)])
    handler = grpc.unary_unary_rpc_method_handler(
        export, response_serializer=service.ExportMetricsServiceResponse.SerializeToString
    )
    name = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
    address = f"127.0.0.1:{options.grpc_port}"
    if options.tls_cert:
        credentials = grpc.ssl_server_credentials(
            [(read(options.tls_key), read(options.tls_cert))],
            read(options.client_ca) if options.client_ca else None,
            options.client_ca is not None,
        )
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    return server, port


def read(path):
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def http_server(journal, options):
    """The HTTP receiver, started."""

    class Handler(BaseHTTPRequestHandler):
        """POST /v1/metrics."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):  # noqa: N802, the name http.server wants
            """Decodes a request and writes it down."""
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path != "/v1/metrics":
                return self.answer(404)
            if self.headers.get("content-type") != "application/x-protobuf":
                return self.answer(415)
            encoding = self.headers.get("content-encoding", "identity")
            about = {
                "transport": "http/protobuf",
                "encoding": encoding,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "bytes": len(raw),
            }
            try:
                body = gzip.decompress(raw) if encoding == "gzip" else raw
                answer = journal.take(service.ExportMetricsServiceRequest.FromString(body), about)
            except (DecodeError, OSError, EOFError) as error:
                print(f"not decoded: {error}", file=sys.stderr)
                return self.answer(400)
            return self.answer(200, answer.SerializeToString())

        def answer(self, status, body=b""):
            """Sends an answer."""
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Says nothing: stdout is for the records."""

    server = ThreadingHTTPServer(("127.0.0.1", options.http_port), Handler)
    server.daemon_threads = True
    if options.tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_cert, options.tls_key)
        if options.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(options.client_ca)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


def main():
    """Listens until told to end."""
    parser = argparse.ArgumentParser(description="OTLP metrics receiver for tests")
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--output", type=argparse.FileType("w"), default=sys.stdout)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--client-ca")
    parser.add_argument("--reject", type=int, default=0)
    options = parser.parse_args()

    ended = threading.Event()
    for number_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number_, lambda *_: ended.set())

    journal = Journal(options.output, options.reject)
    grpc_, grpc_port = grpc_server(journal, options)
    http, http_port = http_server(journal, options)
    journal.write({"grpc": f"127.0.0.1:{grpc_port}", "http": f"127.0.0.1:{http_port}"})
    ended.wait()
    grpc_.stop(grace=1).wait()
    http.shutdown()


if __name__ == "__main__":
    main()
