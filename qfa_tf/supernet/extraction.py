"""Cutting one subnet out of a supernet as a functional Keras model quantized through TFMOT."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qfa_tf.layers import ElasticSite
from qfa_tf.layers.squeeze_excite import PARTS
from qfa_tf.network import (
    Concatenation,
    Convolution,
    Flatten,
    Function,
    GlobalPooling,
    Image,
    Node,
    Padding,
    Pooling,
    Product,
    Rescaling,
    SqueezeExcite,
    Subnet,
    SubnetNode,
    Sum,
    Upsampling,
)
from qfa_tf.network.nodes import TABLES
from qfa_tf.space import Architecture
from qfa_tf.supernet.calibration import Calibration
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.bit_policy import BitPolicy
from quantize_configs.bit_widths import FLOAT_PAIRS, is_float_pair
from quantize_configs.deployment import prepare_for_deployment
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import UnsupportedError
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.model_quantization import TENSOR_BITS, quantize
from quantize_configs.quantized_model import mark_trained
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
EXCITE_CONVOLUTIONS = ("reduce", "expand")

FLOAT_SITE_PAIRS = {
    "int8": (TENSOR_BITS, TENSOR_BITS),
    **dict(zip(("float32", "float16"), FLOAT_PAIRS, strict=True)),
}
"""(weight bits, activation bits) of the sites that a space keeps in float, by `float_sites`."""


class ExtractionError(UnsupportedError):
    """An architecture has no fixed quantized model."""


def extract(
    net: Supernet,
    arch: Architecture,
    calibration: Calibration,
    deployment_grids: bool,
    weight_container: str,
    float_sites: str,
) -> keras.Model:
    """Builds the model of one subnet; see `QFASupernet.extract`."""
    bits = _deployed_bits(net, arch, deployment_grids, float_sites)
    if deployment_grids and net.zero_point != "integer":
        raise ExtractionError(
            "The supernet was trained with fractional zero points, which no integer runtime "
            "computes. Train with zero_point='integer', or extract with deployment_grids=False."
        )
    parts = net.space.subnet(arch)
    excites = [part for part in parts.nodes if isinstance(part.node, SqueezeExcite)]
    in_float = [f"{one.node.name}.{part}" for one in excites for part in EXCITE_CONVOLUTIONS]
    # Nothing in these layers needs AutoGraph.
    float_model = tf.autograph.experimental.do_not_convert(_float_model)
    model = quantize(
        float_model(net, parts),
        BitPolicy(layers=bits),
        zero_point=net.zero_point,
        estimator=net.estimator,
        weight_steps="per_tensor",
        weight_start="lsq",
        tensor_quantizers=deployment_grids,
        input_quantizers=_input_quantizers(net, bits),
        float_layers=() if deployment_grids else in_float,
        take_layers=True,
    )
    wrapped = WrappedModel(model)
    for part in parts.nodes:
        if isinstance(part.node, Convolution):
            _fill_site(net, wrapped, calibration, part, bits[part.node.name])
    for one in excites:
        _fill_squeeze_excite(net, wrapped, one.node.name, deployment_grids)
    _fill_ranges(net, wrapped, calibration, range_entries(parts))
    mark_trained(model)  # what it has now was trained in the supernet
    if deployment_grids:
        prepare_for_deployment(model, weight_container)
    return model


def _deployed_bits(net, arch, deployment_grids, float_sites) -> dict[str, tuple[int, int]]:
    """Bits per site on the device; sites that the space keeps in float as `float_sites` says."""
    if float_sites not in FLOAT_SITE_PAIRS:
        raise ExtractionError(
            f"float_sites must be one of {', '.join(FLOAT_SITE_PAIRS)}. Received: {float_sites!r}."
        )
    fixed = {
        site.name
        for site in net.space.sites
        if FLOAT_BITS in (*site.weight_bits, *site.activation_bits)
    }
    bits = arch.site_bits
    floating = sorted(site for site, pair in bits.items() if FLOAT_BITS in pair)
    if chosen := [site for site in floating if site not in fixed]:
        raise ExtractionError(
            f"These sites are in float (32 bits): {chosen}. A subnet can be extracted when all "
            f"its sites have bits from {net.space.weight_bits}."
        )
    if float_sites == "int8":
        if floating and not deployment_grids:
            raise ExtractionError(
                f"The space {net.space.name!r} keeps {floating} in float, which become 8-bit sites "
                "in an extracted model; extract with deployment_grids=True, or keep them in float "
                "with float_sites='float32'."
            )
        eight = {FLOAT_BITS: TENSOR_BITS}
        return {site: tuple(eight.get(each, each) for each in bits[site]) for site in bits}
    if halves := {site: bits[site] for site in floating if not is_float_pair(bits[site])}:
        raise ExtractionError(
            "These sites have (weight bits, activation bits) of which only one is float: "
            f"{halves}. No kernel computes them so; extract with float_sites='int8'."
        )
    return bits | dict.fromkeys(floating, FLOAT_SITE_PAIRS[float_sites])


def _input_quantizers(net, bits) -> dict[str, ElasticQuantizer]:
    """Quantizers of inputs by site: those of the sites, with the bits of the subnet."""
    quantizers = {name: net.site_layer(name).activation_quantizer for name in bits}
    return {
        name: quantizer.fixed(bits[name][1])
        for name, quantizer in quantizers.items()
        if quantizer is not None
    }


def _float_model(net: Supernet, subnet: Subnet) -> keras.Model:
    """The layers of the subnet; site, normalization and activation carry the site's name."""
    network, space = net.space.network, net.space
    shape = (subnet.resolution, subnet.resolution, space.input_channels)
    tensors = {network.image.name: keras.Input(shape, name=network.image.name)}
    for part in subnet.nodes:
        node = part.node
        inputs = [tensors[name] for name in part.inputs]
        if isinstance(node, Convolution):
            is_vector = network.is_vector(node.inputs[0])
            tensors[node.name] = _site(net.site_layer(node.name), part, inputs[0], is_vector)
        elif isinstance(node, SqueezeExcite):
            tensors[node.name] = _squeeze_excite(node.name, inputs[0], part.width, part.inner_width)
        elif inputs:
            x = inputs if len(inputs) > 1 else inputs[0]
            tensors[node.name] = _LAYERS[type(node)](node)(x)
    outputs = [tensors[name] for name in subnet.outputs]
    given = outputs if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs=tensors[network.image.name], outputs=given, name="subnet")


def _site(layer: ElasticSite, part: SubnetNode, x, is_vector: bool):
    """Convolution, normalization and activation of a site."""
    name, kernel_size = part.node.name, part.kernel_size
    options = {"use_bias": layer.use_bias, "name": name, "dilation_rate": layer.dilation}
    padding = "valid" if layer.padding == "valid" else "same"
    if layer.padding == "symmetric" and layer.stride > 1:
        x, padding = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}.padding")(x), "valid"
    if layer.kind == "depthwise":
        x = layers.DepthwiseConv2D(kernel_size, layer.stride, padding, **options)(x)
    elif is_vector:
        del options["dilation_rate"]
        x = layers.Dense(part.width, **options)(x)
    else:
        size = (kernel_size, layer.kernel_width or kernel_size)
        options["groups"] = layer.groups
        x = layers.Conv2D(part.width, size, layer.stride, padding, **options)(x)
    if layer.normalization:
        x = layers.BatchNormalization(epsilon=layer.epsilon, name=f"{name}.norm")(x)
    if layer.activation != "linear":
        x = _activation(layer.activation, f"{name}.activation")(x)
    return x


def _activation(function: str, name: str) -> keras.layers.Layer:
    if function in _OWN_LAYERS:
        return _OWN_LAYERS[function](name=name)
    if function in TABLES or function == "linear":
        return layers.Activation(function, name=name)
    return layers.ReLU(max_value=6.0 if function == "relu6" else None, name=name)


def _function(node: Function) -> keras.layers.Layer:
    if node.activation == "leaky_relu":
        return layers.LeakyReLU(node.slope, name=node.name)
    return _activation(node.activation, node.name)


def _pooling(node: Pooling) -> keras.layers.Layer:
    kind = layers.MaxPooling2D if node.reduction == "max" else layers.AveragePooling2D
    return kind(node.window, node.stride, node.padding, name=node.name)


def _rescaling(node: Rescaling) -> keras.layers.Layer:
    pair = (list(values) if len(values) > 1 else values[0] for values in (node.scale, node.offset))
    return layers.Rescaling(*pair, name=node.name)


_GLOBAL_POOLS = {
    "average": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}
_OWN_LAYERS = {"hard_swish": HardSwish, "hard_sigmoid": HardSigmoid}
_LAYERS: dict[type[Node], Callable[[Any], keras.layers.Layer]] = {
    Sum: lambda node: layers.Add(name=node.name),
    Product: lambda node: layers.Multiply(name=node.name),
    Concatenation: lambda node: layers.Concatenate(name=node.name),
    Function: _function,
    Pooling: _pooling,
    GlobalPooling: lambda node: _GLOBAL_POOLS[node.reduction](name=node.name),
    Padding: lambda node: layers.ZeroPadding2D((node.rows, node.columns), name=node.name),
    Upsampling: lambda node: layers.UpSampling2D(
        node.factor, interpolation=node.interpolation, name=node.name
    ),
    Rescaling: _rescaling,
    Flatten: lambda node: layers.Flatten(name=node.name),
}
"""The Keras layer of a node without weights."""


def _squeeze_excite(name, x, width, squeeze_width):
    """The layers of squeeze-excite, as `quantize_configs.activations` describes them."""
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    gate = layers.Conv2D(squeeze_width, 1, name=f"{name}.reduce")(gate)
    gate = layers.ReLU(name=f"{name}.reduce.activation")(gate)
    gate = HardSigmoid(name=f"{name}.gate")(layers.Conv2D(width, 1, name=f"{name}.expand")(gate))
    return layers.Multiply(name=f"{name}.scale")([x, gate])


def _fill_squeeze_excite(net, wrapped, excite, quantized) -> None:
    """Copies the weights of a squeeze-excite; where quantized, with the 8-bit steps that fit."""
    source = net.layer(excite)
    for part in EXCITE_CONVOLUTIONS:
        name = f"{excite}.{part}"
        layer = wrapped.wrapper(name).layer
        target = wrapped.weight(name) if quantized else layer.kernel
        rows, columns = target.shape[2:]
        kernel = getattr(source, f"{part}_kernel").numpy()[:rows, :columns]
        target.assign(kernel[None, None])
        layer.bias.assign(getattr(source, f"{part}_bias").numpy()[:columns])
        if quantized:
            wrapped.fit_step(name)


def _fill_site(net, wrapped, calibration, part: SubnetNode, bits) -> None:
    """Copies weight, step, normalization, learned offsets and range of one site."""
    name = part.node.name
    source = net.site_layer(name)
    kernel_size = part.kernel_size if len(source.kernel_sizes) > 1 else None
    wrapper = wrapped.wrapper(name)
    weight_bits, activation_bits = bits
    kernel = tf.convert_to_tensor(source.kernel)
    if kernel_size is not None:
        kernel = source.transform(kernel, kernel_size)
    in_float = is_float_pair(bits)
    target = wrapped.kernel(name) if in_float else wrapped.weight(name)
    kernel = kernel.numpy()
    if kernel.ndim < len(target.shape):  # a matrix of the supernet that became a 1x1 convolution
        kernel = kernel[None, None]
    target.assign(source.active_kernel(kernel, part.input_parts, target.shape))
    if source.weight_quantizer is not None:
        step = net.precision.weight_step(name, weight_bits, kernel_size)
        wrapped.weight_variables(name)["step"].assign([step])
    elif not in_float:
        wrapped.fit_step(name)
    if source.use_bias:
        bias, width = wrapper.layer.bias, wrapper.layer.bias.shape[0]
        bias.assign(source.active_outputs(source.bias.numpy(), part.input_parts, width))
    if source.normalization:
        norm = wrapped.wrapper(f"{name}.norm").layer
        width = norm.gamma.shape[0]
        for target, values in ((norm.gamma, source.gamma), (norm.beta, source.beta)):
            target.assign(source.active_outputs(values.numpy(), part.input_parts, width))
        norm.moving_mean.assign(calibration.read(net.layout, f"{name}.mean")[:width])
        norm.moving_variance.assign(calibration.read(net.layout, f"{name}.variance")[:width])
    if source.activation_quantizer is not None:
        variables = wrapped.output_variables(f"{name}.input")
        learned = net.precision.activation_parameters(name, activation_bits, kernel_size)
        for role, value in zip(source.activation_quantizer.learned_values, learned, strict=True):
            variables[role].assign([value])
        if not source.activation_quantizer.needs_range:
            variables["samples"].assign(float(calibration.images))


def _fill_ranges(net, wrapped, calibration, entries: dict[str, str]) -> None:
    """Gives every quantizer of a tensor the range that calibration measured."""
    for name in wrapped.quantized_outputs():
        variables = wrapped.output_variables(name)
        if "range_low" not in variables:  # its grid is learned
            continue
        low, high = calibration.read(net.layout, entries[name])
        _store_range(variables, min(low, 0.0), max(high, 0.0), calibration.images)


def range_entries(subnet: Subnet) -> dict[str, str]:
    """The statistics that the output range of each layer of a subnet comes from."""
    entries: dict[str, str] = {}
    for part in subnet.nodes:
        node, name = part.node, part.node.name
        if isinstance(node, Convolution):
            # In front of a hard-swish, or what the site puts out.
            before = "linear" if node.activation in TABLES else "output"
            entries |= {
                f"{name}.input": f"{name}.range",
                name: f"{name}.{before}",
                f"{name}.norm": f"{name}.{before}",
                f"{name}.activation": f"{name}.output",
            }
        elif isinstance(node, SqueezeExcite):
            entries |= {f"{name}.{one}": f"{name}.{one}" for one in PARTS}
            entries |= {
                f"{name}.reduce.input": f"{name}.pool",
                f"{name}.expand.input": f"{name}.reduce",
            }
        elif isinstance(node, Image):
            entries[f"{name}.quantized"] = name
        else:
            entries[name] = name
    return entries


def _store_range(variables, low, high, images) -> None:
    variables["range_low"].assign(low)
    variables["range_high"].assign(high)
    variables["samples"].assign(float(images))
