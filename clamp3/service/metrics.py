"""What a service counts, as Prometheus reads it; each app has a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Requests, how long they took, what was computed together, and the index."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "clamp3_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "clamp3_request_seconds",
            "From the request's headers to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "clamp3_batch_size",
            "Queries that were computed together.",
            ["what"],
            buckets=BATCHES,
            registry=self.registry,
        )
        self.active = Gauge(
            "clamp3_requests_in_progress", "Requests being answered.", registry=self.registry
        )
        self.rows = Gauge("clamp3_index_rows", "Rows of the index.", registry=self.registry)
        self.pieces = Gauge("clamp3_index_pieces", "Pieces in the index.", registry=self.registry)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
