"""Whether gradients survive when two threads compute them at once on changing shapes.

    python scripts/stress_normalization.py
    python scripts/stress_normalization.py tensorflow normalization supernet --trials 4

Each trial is a process of its own, which a corrupted heap aborts:

  tensorflow     the gradient of TensorFlow's fused batch normalization, which oneDNN computes
  normalization  `FastArithmetic.normalize_batch`
  supernet       the traced gradients of a supernet, one random subnet after another
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

THREADS = 2
EPSILON = 1e-5
Work = Callable[[np.random.Generator], object]


def normalization_work(normalize: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Work:
    """One call of the traced gradient of a normalization, of a random shape."""
    signature = [tf.TensorSpec([None] * 4, tf.float32), tf.TensorSpec([None], tf.float32)]

    @tf.function(input_signature=signature, autograph=False)
    def gradients(x, gamma):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma))
            loss = tf.reduce_sum(tf.square(normalize(x, gamma)))
        return tape.gradient(loss, (x, gamma))

    def call(rng):
        size, width = rng.choice([4, 8, 14, 28]), rng.choice([16, 24, 40, 72, 96])
        return gradients(rng.random((4, size, size, width), np.float32), np.ones(width, np.float32))

    return call


def tensorflow() -> Work:
    """TensorFlow's own gradient."""
    return normalization_work(
        lambda x, gamma: tf.compat.v1.nn.fused_batch_norm(
            x, gamma, gamma, epsilon=EPSILON, is_training=True
        )[0]
    )


def normalization() -> Work:
    """That of supernets."""
    from qfa_tf.layers.arithmetic import FastArithmetic

    arithmetic = FastArithmetic()
    return normalization_work(
        lambda x, gamma: arithmetic.normalize_batch(x, gamma, gamma, EPSILON, False, True)[0]
    )


def supernet() -> Work:
    """Random subnets of a small space, at all its resolutions."""
    from qfa_tf import QFASupernet, QFATraining, SearchSpace
    from quantize_configs.keras_backend import keras

    space = SearchSpace.from_preset("digits_tiny")
    net = QFASupernet(space)
    net.compile(optimizer=keras.optimizers.SGD(), training=QFATraining())
    gradients = net.training_method.subnet_gradients.get_concrete_function()
    size = space.resolutions[-1]

    def call(rng):
        images = rng.random((4, size, size, space.input_channels), np.float32)
        genome = space.sample_genomes(rng, 1)[0].astype(np.int32)
        return gradients(
            tf.constant(images),
            tf.zeros([4], tf.int32),
            tf.constant(genome),
            tf.zeros([4, space.num_classes]),
            tf.zeros([]),
            tf.zeros([2], tf.int64),
        )

    return call


WORK = {make.__name__: make for make in (tensorflow, normalization, supernet)}


def run(name: str, calls: int) -> None:
    """All threads of one trial."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    work = WORK[name]()
    failures: list[BaseException] = []

    def repeat(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(calls):
                work(rng)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def outcome(name: str, calls: int) -> str:
    """What became of one trial, in words."""
    command = [sys.executable, __file__, name, "--calls", str(calls), "--alone"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return "survived"
    cause = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode > 0:
        return f"failed: {cause}"
    return f"killed by {signal.Signals(-done.returncode).name}: {cause}"


def main() -> int:
    """Runs the trials; 1 unless ours survived all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", nargs="*", help=f"of {', '.join(WORK)}; all by default")
    parser.add_argument("--trials", type=int, default=3, help="processes of each")
    parser.add_argument("--calls", type=int, default=250, help="of each of the two threads")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.work) - set(WORK):
        parser.error(f"work must be of {', '.join(WORK)}. Received: {', '.join(unknown)}.")
    if args.alone:
        run(args.work[0], args.calls)
        return 0
    safe = True
    for name in args.work or WORK:
        for trial in range(args.trials):
            found = outcome(name, args.calls)
            print(f"{name:14} trial {trial + 1}: {found}", flush=True)
            safe &= name == "tensorflow" or found == "survived"
    return 0 if safe else 1


if __name__ == "__main__":
    sys.exit(main())
