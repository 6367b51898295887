"""Keras 3 models at the border: taken in as `tf_keras` models, and given back.

TFMOT is built on `tf_keras`, and so is everything here. A functional or sequential Keras 3 model
(loaded from `.keras`, of `keras.applications`, with models inside) is rebuilt layer by layer from
its configuration, gets its weights, and must give the same outputs on random inputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.errors import InvalidInputError, InvalidTypeError, UnsupportedError
from quantize_configs.keras3_composites import keras3_model, sublayers
from quantize_configs.keras3_counterparts import layer_and_function, operator
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import UnsupportedLayerError

TOLERANCE = 1e-5
"""Largest difference of an output, as a share of the largest one and at least of 1."""
OPEN_SIZE = 96
"""Pixels of an open size in the comparison."""
SEED = 0


def is_keras3(thing: object) -> bool:
    """Whether an object is of a class of Keras 3, or derived from one."""
    return any(kind.__module__.split(".")[0] == "keras" for kind in type(thing).__mro__)


def as_tf_keras(model: Any) -> Any:
    """A Keras 3 model as a `tf_keras` model that computes the same; anything else as it is.

    Names of layers and inputs stay, and so does `trainable`. An activation that `tf_keras` does not
    have becomes a layer `<layer>.activation`. Weights are copied.

    Args:
      model: Built functional or sequential Keras 3 model; it is not modified. What is not of Keras
        3 is returned as it is.

    Raises:
      InvalidTypeError: A subclassed model, whose layers cannot be listed.
      InvalidInputError: It has no input shape yet.
      UnsupportedLayerError: A layer or an operator has no counterpart, which is named.
      UnsupportedError: The outputs differ from those of `model` on random inputs.
    """
    if not is_keras3(model):
        return model
    converted = _converted(model)
    _compare(model, converted)
    return converted


def to_keras3(model: keras.Model, original: Any) -> Any:
    """A copy of a Keras 3 model with the weights of the `tf_keras` model that was made from it.

    Args:
      model: Result of `as_tf_keras(original)`, perhaps trained since; a float model.
      original: The Keras 3 model; it is not modified.

    Raises:
      InvalidTypeError: `original` is no Keras 3 model.
      InvalidInputError: `model` does not have its layers.
      UnsupportedError: The outputs differ from those of `model` on random inputs.
    """
    import keras as keras3

    if not is_keras3(original):
        raise InvalidTypeError(
            "to_keras3 needs the Keras 3 model that the tf_keras model was made from. Received: "
            f"{type(original).__module__}.{type(original).__qualname__}."
        )
    copy = keras3.models.clone_model(original)
    sources = _by_path(model.layers)
    paths, copies = _by_path(original.layers), _by_path(copy.layers)
    for path, layer in zip(paths, copies.values(), strict=True):  # copies may have other names
        if not layer.weights or type(layer).__name__ == "Normalization":
            continue
        source = sources.get(path)
        shapes = [tuple(weight.shape) for weight in getattr(source, "weights", ())]
        if source is None or shapes != [tuple(weight.shape) for weight in layer.weights]:
            raise InvalidInputError(
                f"The model {model.name!r} was not made from {original.name!r}: the weights of the "
                f"layer {'/'.join(path)!r} have the shapes {shapes}, not "
                f"{[tuple(weight.shape) for weight in layer.weights]}."
            )
        layer.set_weights(source.get_weights())
    _compare(copy, model)
    return copy


def _by_path(layers: Sequence[Any], before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Layers by the names of the models and layers around them and their own."""
    found: dict[tuple[str, ...], Any] = {}
    for layer in layers:
        path = (*before, layer.name)
        inner = getattr(layer, "layers", None) or sublayers(layer)
        found |= _by_path(inner, path) if inner else {path: layer}
    return found


def _functional(model: Any) -> Any:
    """The graph of a functional or sequential Keras 3 model."""
    graph = getattr(model, "_functional", None) or model
    if type(model).__name__ == "Sequential" and graph is model:
        raise InvalidInputError(
            f"The Keras 3 model {model.name!r} has no input shape yet. Call build(input_shape) "
            "first."
        )
    if not hasattr(graph, "_nodes_by_depth"):
        raise InvalidTypeError(
            f"The Keras 3 model {model.name!r} is a subclassed {type(model).__name__}, whose "
            "layers cannot be listed. Build it with the functional API or as a Sequential."
        )
    return graph


def _converted(model: Any) -> keras.Model:
    """The `tf_keras` model of a Keras 3 model."""
    graph = _functional(model)
    tensors: dict[int, Any] = {}
    made: dict[int, tuple[Any, Any]] = {}

    def value(part: Any) -> Any:
        return tensors[id(part)] if hasattr(part, "_keras_history") else part

    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            op = node.operation
            if node.is_input:
                (output,) = node.output_tensors
                tensors[id(output)] = keras.Input(
                    op.batch_shape[1:], name=op.name, dtype=output.dtype
                )
                continue
            arguments, options = tf.nest.map_structure(
                value, (tuple(node.arguments.args), dict(node.arguments.kwargs))
            )
            outputs = _called(op, node, made, arguments, options)
            outputs = tf.nest.flatten(outputs)
            for old, new in zip(node.output_tensors, outputs, strict=True):
                tensors[id(old)] = new
    inputs = [tensors[id(tensor)] for tensor in model.inputs]
    outputs = [tensors[id(tensor)] for tensor in model.outputs]
    converted = keras.Model(inputs, outputs, name=model.name)
    for op in graph.operations:
        layer, _ = made.get(id(op), (None, None))
        if layer is not None and not isinstance(layer, keras.Model):
            _fill(layer, op)
    return converted


def _called(op: Any, node: Any, made: dict[int, tuple[Any, Any]], arguments, options) -> Any:
    """What the counterpart of a layer, model or operator makes of tensors."""
    if not hasattr(op, "get_weights"):
        return operator(op)(*arguments, **options)
    if id(op) not in made:
        inner = op if _is_graph(op) else keras3_model(op, node)
        made[id(op)] = layer_and_function(op) if inner is None else (_converted(inner), None)
    layer, function = made[id(op)]
    if isinstance(layer, keras.Model):
        given = tf.nest.flatten((arguments, options))
        tensors = [part for part in given if hasattr(part, "_keras_history")]
        return layer(tensors if len(tensors) > 1 else tensors[0])
    # Masks and the like are worked out anew; tensors are what a layer reads.
    result = layer(*arguments)
    return result if function is None else function(result)


def _is_graph(op: Any) -> bool:
    """Whether it is a model whose layers are listed."""
    return hasattr(getattr(op, "_functional", None) or op, "_nodes_by_depth")


def _fill(layer: keras.layers.Layer, original: Any) -> None:
    """Copies weights and what is frozen."""
    layer.trainable = original.trainable
    if isinstance(layer, keras.layers.Normalization):
        return
    values = original.get_weights()
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if shapes != [value.shape for value in values]:
        raise UnsupportedLayerError(
            f"The Keras 3 layer {original.name!r} ({type(original).__name__}) has weights of the "
            f"shapes {[value.shape for value in values]}; that of tf_keras has {shapes}."
        )
    layer.set_weights(values)


def _compare(original: Any, converted: keras.Model) -> None:
    """Refuses a model whose outputs are not those of the original on random inputs."""
    import keras as keras3

    rng = np.random.default_rng(SEED)
    inputs = [_random(rng, tensor) for tensor in converted.inputs]
    ours = tf.nest.flatten(converted(inputs if len(inputs) > 1 else inputs[0], training=False))
    structured = tf.nest.pack_sequence_as(_structure(original), inputs)
    theirs = tf.nest.flatten(original(structured, training=False))
    for tensor, a, b in zip(original.outputs, theirs, ours, strict=True):
        expected = np.asarray(keras3.ops.convert_to_numpy(a), np.float64)
        difference = np.max(np.abs(expected - np.asarray(b, np.float64)), initial=0.0)
        allowed = TOLERANCE * max(1.0, float(np.max(np.abs(expected), initial=0.0)))
        if not difference <= allowed:
            raise UnsupportedError(
                f"The Keras 3 model {original.name!r} was rebuilt in tf_keras, but its output "
                f"{tensor.name!r} differs by {difference:.3g} on random inputs (allowed: "
                f"{allowed:.3g}). A layer has another meaning there; please report it, and build "
                "the model with `import tf_keras as keras`."
            )


def _structure(model: Any) -> Any:
    """How a Keras 3 model nests its inputs."""
    structure = getattr(_functional(model), "_inputs_struct", None)
    if structure is None:
        return model.inputs if len(model.inputs) > 1 else model.inputs[0]
    return structure


def _random(rng: np.random.Generator, tensor: Any) -> np.ndarray:
    """One input around 0, and one as large as the bytes of an image."""
    shape = [OPEN_SIZE if size is None else size for size in tensor.shape[1:]]
    if not tensor.dtype.is_floating:
        return rng.integers(0, 2, (2, *shape)).astype(tensor.dtype.as_numpy_dtype)
    parts = [rng.normal(size=shape), rng.uniform(0.0, 255.0, shape)]
    return np.stack(parts).astype(tensor.dtype.as_numpy_dtype)
