"""What the Python blocks of a page take for granted: their readers have it, a test must make it.

Each function returns the names that a page uses without defining them. It may write files into the
working directory.
"""

import numpy as np


def images(side=16, channels=1, count=64):
    return np.random.default_rng(0).random((count, side, side, channels), np.float32)


def labels(count=64, classes=10):
    return np.arange(count) % classes


def float_model(channels=1):
    """Three convolutions, of which the last is called conv_3."""
    import tf_keras as keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            *(
                layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv_{number}")
                for number in (1, 2, 3)
            ),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="classes"),
        ]
    )


def shortened():
    """A QFASupernet whose `fit` takes two steps, however long the page trains."""
    from qfa_tf import QFASupernet

    class Shortened(QFASupernet):
        def fit(self, dataset, **kwargs):
            return super().fit(dataset.repeat(), steps_per_epoch=2, epochs=1, verbose=0)

    return Shortened


def batches(side=32, channels=1, size=16):
    import tensorflow as tf

    pair = (images(side, channels), labels())
    return tf.data.Dataset.from_tensor_slices(pair).batch(size, drop_remainder=True)


def readme():
    import tf_keras as keras

    return {
        "optimizer": keras.optimizers.SGD(0.01),
        "dataset": batches(),
        "training_batches": batches(16),
        "validation_batches": batches(),
        "rng": np.random.default_rng(0),
        "float_model": float_model(),
        "images": images(),
        "labels": labels(),
    }


def architecture():
    from qfa_tf.network.building import IMAGE, NetworkBuilder
    from qfa_tf.network.choices import Chosen, Constant
    from qfa_tf.network.nodes import GlobalPooling, Sum

    return {
        "NetworkBuilder": NetworkBuilder,
        "IMAGE": IMAGE,
        "Constant": Constant,
        "Chosen": Chosen,
        "Sum": Sum,
        "GlobalPooling": GlobalPooling,
        "resolutions": (16,),
        "input_channels": 3,
        "weight_bits": (4, 8),
        "activation_bits": (8,),
        "fixed_bits": {"stem": (8, 8), "classifier": (8, 8)},
    }


def deployment():
    from quantize_configs.keras_backend import keras

    trained = float_model()
    trained.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return {
        "float_model": trained,
        "validation_batches": batches(16),
        "training_batches": batches(16),
        "names": [f"class {number}" for number in range(10)],
        "images": images(),
        "labels": labels(),
    }


def latency_tables():
    """A table of all operators in the place of the one that the page shows a row of."""
    from qfa_tf.cost import LatencyTable, operators
    from qfa_tf.space import SearchSpace

    space = SearchSpace.from_preset("digits_tiny")
    keys = operators(space, space.restrict())
    times = dict.fromkeys(keys, 10.0)
    LatencyTable("pixel8-cpu1", "x", {}, "2026", times).write("tables/pixel8-cpu1.json")
    return {"genomes": space.sample_genomes(np.random.default_rng(0), 4)}


def oqa():
    import tf_keras as keras

    from qfa_tf import OQATraining, SearchSpace, TrainingStage

    net = shortened()
    space = SearchSpace.from_preset("fashion_mnist")
    space = space.replace(name="w4", weight_bits=(4,), activation_bits=(4,))
    return {
        "SearchSpace": SearchSpace,
        "QFASupernet": net,
        "OQATraining": OQATraining,
        "TrainingStage": TrainingStage,
        "keras": keras,
        "net_of_4_bits": net(space, activation_quantizer="lsq", shared_step=True),
        "dataset": batches(28),
    }


def training():
    import tf_keras as keras
    from ml_collections import ConfigDict

    from qfa_tf import QFATraining, SearchSpace, TrainingStage
    from qfa_tf.training import CosineSegment, StagedCosine

    teacher = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten()])
    teacher.add(keras.layers.Dense(10))
    return {
        "config": ConfigDict({"space": "digits_tiny"}, type_safe=False),
        "SearchSpace": SearchSpace,
        "QFASupernet": shortened(),
        "QFATraining": QFATraining,
        "TrainingStage": TrainingStage,
        "CosineSegment": CosineSegment,
        "StagedCosine": StagedCosine,
        "keras": keras,
        "model": teacher,
        "space": SearchSpace.from_preset("digits_tiny"),
        "dataset": batches(),
    }


CONTEXTS = {
    "README.md": readme,
    "architecture.md": architecture,
    "deployment.md": deployment,
    "latency_tables.md": latency_tables,
    "oqa.md": oqa,
    "training.md": training,
}
