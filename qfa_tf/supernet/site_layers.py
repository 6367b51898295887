"""The layers of a supernet, made from its network and its options."""

from qfa_tf.layers import ElasticSite, SqueezeExcite
from qfa_tf.layers.input_grids import input_grid
from qfa_tf.network import Convolution, Network
from qfa_tf.network import SqueezeExcite as SqueezeExciteNode
from qfa_tf.network.choices import parts_of
from qfa_tf.network.network import largest
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.errors import UnsupportedError


def build_sites(net: Supernet) -> dict[str, ElasticSite]:
    """The built layers of all sites by name, in the order of the network."""
    layers = {site.name: make_site(net, site) for site in net.space.network.sites}
    for layer in layers.values():
        layer.build()
    return layers


def build_squeeze_excites(net: Supernet) -> dict[str, SqueezeExcite]:
    """The built layers of all squeeze-excites by name, in the order of the network."""
    layers = {}
    for node in net.space.network.nodes:
        if isinstance(node, SqueezeExciteNode):
            width = net.space.network.largest_width(node.name)
            inner = largest(net.space.network, node.width)
            layers[node.name] = SqueezeExcite(width, inner, net.arithmetic, name=node.name)
            layers[node.name].build()
    return layers


def by_slot(
    network: Network, excites: dict[str, SqueezeExcite]
) -> dict[str, dict[str, SqueezeExcite]]:
    """The first squeeze-excite of each slot as "squeeze_excite", others by their names."""
    found: dict[str, dict[str, SqueezeExcite]] = {}
    for name, layer in excites.items():
        own = found.setdefault(network.node(name).slot or name, {})
        own[name if own else "squeeze_excite"] = layer
    return found


def make_site(net: Supernet, site: Convolution) -> ElasticSite:
    """The layer of a site, not built.

    Raises:
      UnsupportedError: The execution cannot have its kernels.
    """
    _check_placement(net, site)
    network = net.space.network
    grid = input_grid(network, site, net.signed_inputs)
    widths = [network.width(name) for name in (site.inputs[0], site.name)]
    parts = [largest(network, part) for part in parts_of(widths[0])]
    return ElasticSite(
        site.kind,
        largest(network, widths[0]),
        largest(network, widths[1]),
        network.kernel_sizes(site),
        weight_bits=network.weight_bits(site),
        activation_bits=network.activation_bits(site),
        stride=site.stride,
        activation=site.activation,
        padding=net.padding if site.padding == "same" else site.padding,
        normalization=site.normalization,
        use_bias=site.bias,
        zero_point=net.zero_point,
        signed_input=net.zero_point == "fractional" and site.signed_codes,
        estimator=net.estimator,
        factor_start=net.factor_start,
        narrow_bits=net.narrow_bits,
        weight_start=net.weight_start,
        activation_quantizer=net.activation_quantizer,
        input_grid="offset" if net.activation_quantizer == "lsq_plus" else grid,
        shared_step=net.shared_step,
        input_parts=parts if any(part.choices for part in parts_of(widths[0])) else (),
        epsilon=net.norm_epsilon,
        stop_constant=net.constant_channels == "stopped",
        kernel_start=_kernel_start(net, site),
        first_gain=net.residual_gain if network.ends_branch(site.name) else 1.0,
        kernel_width=site.kernel_width,
        groups=site.groups,
        dilation=site.dilation,
        arithmetic=net.arithmetic,
        name=site.name,
    )


def _check_placement(net: Supernet, site: Convolution) -> None:
    """Refuses kernels whose place in the largest one is not in the middle."""
    sizes = net.space.network.kernel_sizes(site)
    moves = len(sizes) > 1 and net.padding == "same" and site.stride > sizes[0]
    if moves and net.execution == "masked":
        raise UnsupportedError(
            "execution='masked' puts small kernels in the middle of the largest one, which needs "
            f"strides up to their size. Received: the site {site.name!r} with kernels of {sizes} "
            f"and stride {site.stride}. Use padding='symmetric' or execution='sliced'."
        )


def _kernel_start(net: Supernet, site: Convolution) -> str:
    """The name of the first values of a site's kernel."""
    if site.name in net.space.network.outputs:
        return net.classifier_start
    return net.depthwise_start if site.kind == "depthwise" else "fan_out"
