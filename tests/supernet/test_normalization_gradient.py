"""Which operators the gradient of batch normalization in a supernet is made of."""

import tensorflow as tf

from qfa_tf.layers.arithmetic import FastArithmetic


def test_gradient_is_none_that_onednn_takes():
    """Its kernel takes FusedBatchNormGradV3 of four dimensions and is not safe to run twice."""
    arithmetic = FastArithmetic()

    @tf.function(
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None])], autograph=False
    )
    def gradients(x, gamma):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma))
            y, *_ = arithmetic.normalize_batch(x, gamma, gamma, 1e-2, False, True)
        return tape.gradient(y, (x, gamma))

    graph = gradients.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    formats = [
        node.attr["data_format"].s for node in nodes if node.op.startswith("FusedBatchNormGrad")
    ]
    assert formats
    assert set(formats) == {b"NDHWC"}
    to_x, to_gamma = gradients(tf.random.stateless_normal([2, 3, 3, 4], [0, 1]), tf.ones([4]))
    assert to_x.shape == (2, 3, 3, 4)
    assert to_gamma.shape == (4,)
