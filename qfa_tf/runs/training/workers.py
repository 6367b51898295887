"""The devices and processes that train together, as `tf.distribute` strategies.

All replicas train the same subnets on their share of each batch. One process, the chief, writes.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from qfa_tf.runs.errors import ConfigError, WorkerError

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("default", "mirrored", "multi_worker")
PROCESSES = ("chief", "worker")


class ClusterTask(NamedTuple):
    """Which process of a training this one is."""

    rank: int
    processes: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0


def cluster_task(strategy: str) -> ClusterTask:
    """This process among those of a training; TF_CONFIG counts with "multi_worker" only.

    Raises:
      ConfigError: There is no such strategy, or TF_CONFIG does not say what it must.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy must be one of {STRATEGIES}. Received: {strategy!r}.")
    if strategy != "multi_worker":
        return ClusterTask(0, 1)
    text = os.environ.get("TF_CONFIG", "")
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        processes = [
            (kind, index) for kind in PROCESSES for index in range(len(cluster.get(kind, ())))
        ]
        return ClusterTask(processes.index((task["type"], int(task["index"]))), len(processes))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "strategy 'multi_worker' needs TF_CONFIG in the environment of every process, such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
            f'"index": 0}}}}, with an index of its own in each. Received: {text!r}.'
        ) from error


class Workers:
    """The replicas of a training. Make it before TensorFlow computes anything.

    Args:
      strategy: One of `STRATEGIES`. "mirrored" takes all GPUs, or all logical CPUs.

    Attributes:
      task: This process.
      strategy: The `tf.distribute` strategy; None for a single device.
      replicas: Number of replicas in all processes.
    """

    def __init__(self, strategy: str = "default"):
        self.task = cluster_task(strategy)
        self.strategy: Any = None
        self.replicas = 1
        if strategy != "default":
            import tensorflow as tf

            if strategy == "mirrored":
                devices = tf.config.list_logical_devices("GPU")
                devices = devices or tf.config.list_logical_devices("CPU")
                names = [device.name for device in devices]
                self.strategy = tf.distribute.MirroredStrategy(names)
            else:
                self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
            self.replicas = self.strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager:
        """Where the supernet and its optimizer are made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ConfigError unless every replica gets the same number of images."""
        if batch_size % self.replicas:
            raise ConfigError(
                f"config.training.batch_size must be a multiple of the {self.replicas} replicas, "
                f"which share each batch. Received: {batch_size}."
            )

    def batches(self, of_shard: Callable[[tuple[int, int]], "tf.data.Dataset"]) -> Iterator:
        """Iterates over the batches of the replicas of this process.

        Args:
          of_shard: From (index, count) of a replica to the dataset of its share of each batch.
        """
        if self.strategy is None:
            return iter(of_shard((0, 1)))
        import tensorflow as tf

        def of_process(context):
            local = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * local
            shards = [of_shard((index, self.replicas)) for index in range(first, first + local)]
            turns = tf.data.Dataset.range(local).repeat()
            return tf.data.Dataset.choose_from_datasets(shards, turns)

        return iter(self.strategy.distribute_datasets_from_function(of_process))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all processes must ask."""
        return flag if self.task.processes == 1 else bool(self._total(float(flag)) > 0)

    def require_equal(self, value: int, what: str) -> None:
        """Raises WorkerError in all processes when they have different values.

        Args:
          value: Of this process.
          what: For the message.
        """
        if self.task.processes == 1:
            return
        differs = float(value) * self.replicas != float(self._total(float(value)))
        if self.any(differs):
            raise WorkerError(
                f"The processes of this training do not agree on {what}; here it is {value}. All "
                "need the same config and a --workdir on a file system that they share."
            )

    @contextlib.contextmanager
    def report_lost(self) -> Iterator[None]:
        """Turns what TensorFlow raises when another process ends into a WorkerError."""
        if self.task.processes == 1:
            yield
            return
        import tensorflow as tf

        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.InternalError,
        ) as error:
            reason = str(error.message).strip().split("\n")[0]
            raise WorkerError(
                f"Process {self.task.rank + 1} of {self.task.processes} lost another one "
                f"({reason}). Stop all of them, then start them again: they resume at the last "
                "checkpoint."
            ) from error

    @functools.cached_property
    def _total(self) -> Callable:
        """Sum of a float over all replicas."""
        import tensorflow as tf

        def of_replica(value):
            context = tf.distribute.get_replica_context()
            # The identity has a device, which the reduction needs.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        @tf.function(input_signature=[tf.TensorSpec([], tf.float64)], autograph=False)
        def total(value):
            return self.strategy.run(of_replica, args=(value,))

        return lambda value: self.strategy.experimental_local_results(
            total(tf.constant(value, tf.float64))
        )[0]
