"""All that a sweep has to do with Dask distributed: it schedules the cells, and starts lost workers' cells anew elsewhere."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from refspec.errors import BadArgument, reason
from refspec.sweep.cell import Row, run
from refspec.sweep.plan import Cell

SECONDS = 10  # to wait for a scheduler


class Cluster:
    """A runner of cells. scheduler: the address of one that is there; None for a cluster on this machine, of so many workers."""

    def __init__(self, scheduler: str | None, workers: int | None) -> None:
        self.scheduler = scheduler
        self.workers = workers

    def __call__(self, cells: Sequence[Cell]) -> Iterator[Row]:
        distributed = require()
        with self._client(distributed) as client:
            # one at a time on each worker, since a model's passes are not for two threads; a cell whose worker dies is run again
            waiting = client.map(run, cells, pure=False, retries=3)
            for future in distributed.as_completed(waiting):
                if future.status == "finished":
                    yield future.result()
                future.release()

    @contextmanager
    def _client(self, distributed: Any) -> Iterator[Any]:
        if self.scheduler is not None:
            try:
                client = distributed.Client(self.scheduler, timeout=SECONDS)
            except (OSError, ValueError, TimeoutError) as error:
                raise BadArgument(
                    f"scheduler is {self.scheduler}, where none answers ({reason(error)}); start one: dask scheduler"
                ) from None
            with client:
                yield client
            return
        with (
            distributed.LocalCluster(
                n_workers=self.workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


def require() -> Any:
    """Dask distributed, or BadArgument that says how to get it."""
    try:
        import distributed
    except ImportError:
        raise BadArgument("a sweep needs Dask distributed; run: pip install '.[sweep]'") from None
    return distributed
