# SPDX-License-Identifier: Apache-2.0
"""What a server counts, in the text that Prometheus reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator

from ..errors import MissingExtra

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Seen:
    """A request while it is measured: `status` is set when it is known."""

    status = 500


class Measures:
    """Requests by model and status, their seconds, and the rows of batches."""

    def __init__(self, models: Collection[str]):
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise MissingExtra("serving models", "prometheus-client", "serve") from error
        self._models, self._prometheus, self._registry = models, prometheus, prometheus.CollectorRegistry()
        self.media_type = prometheus.CONTENT_TYPE_LATEST
        self._requests = prometheus.Counter("chainrule_requests", "requests", ["model", "status"],
                                            registry=self._registry)
        self._seconds = prometheus.Histogram("chainrule_request_seconds", "seconds of a request, waiting included",
                                             ["model"], buckets=SECONDS, registry=self._registry)
        self._rows = prometheus.Histogram("chainrule_batch_rows", "rows that were computed together", ["model"],
                                          buckets=ROWS, registry=self._registry)

    @contextlib.contextmanager
    def of_request(self, model: str | None) -> Iterator[Seen]:
        """Measure a request; names that are none of ours are counted together, for anybody can make them up."""
        seen, started = Seen(), time.perf_counter()
        try:
            yield seen
        finally:
            if model is not None:
                name = model if model in self._models else ""
                self._requests.labels(name, str(seen.status)).inc()
                self._seconds.labels(name).observe(time.perf_counter() - started)

    def of_batch(self, model: str) -> Callable[[int], None]:
        """What is told the rows of each batch of a model."""
        rows = self._rows.labels(model)
        return lambda count: rows.observe(count)

    def text(self) -> bytes:
        """All counts."""
        return self._prometheus.generate_latest(self._registry)
