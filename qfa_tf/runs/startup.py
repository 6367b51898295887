"""Loading TensorFlow without the notes that its libraries print."""

import contextlib
import os
import sys
from collections.abc import Iterator


def load_tensorflow() -> None:
    """Imports TensorFlow and what the runs need of it, quietly."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_stderr():
        import tensorflow  # noqa: F401

        # Packages load their names when they are asked for; these bring all the rest.
        import qfa_tf.data.loading
        import qfa_tf.supernet.supernet  # noqa: F401
    skip_graph_rewriting()


def skip_graph_rewriting() -> None:
    """Lets TensorFlow run graphs as they are.

    Its rewriting of the thousands of operators of a supernet takes longer than everything else
    before the first step, and gains nothing measurable in the steps that follow. The setting is
    global, so programs choose it, never the library.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Closes the file descriptor: the notes are written before any log level is known.

    Python errors pass.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(null)
        os.close(kept)
