"""The layers of a supernet, made from its space and its options."""

from typing import TYPE_CHECKING

from qfa_tf.layers import ElasticBlock, ElasticSite, SqueezeExcite
from qfa_tf.layers.input_grids import input_grid
from qfa_tf.layers.statistics import activation_of, has_normalization, input_width, output_width
from qfa_tf.supernet.options import SupernetOptions
from quantize_configs.options import options_of

if TYPE_CHECKING:
    from qfa_tf.supernet.supernet import QFASupernet


def check_options(net: "QFASupernet") -> None:
    """Raises ValueError unless the options about quantizers exist and fit together."""
    given = {name: getattr(net, name) for name in options_of(SupernetOptions)}
    SupernetOptions(**given)


def build_sites(net: "QFASupernet") -> dict[str, ElasticSite]:
    """The built layers of all sites by name, in the order of the space."""
    layers = {site.name: make_site(net, site) for site in net.space.sites}
    for layer in layers.values():
        layer.build()
    return layers


def build_blocks(net: "QFASupernet", layers: dict[str, ElasticSite]) -> dict[str, ElasticBlock]:
    """The block slots by name, such as "s1.b0", of the layers of their sites."""
    parts = {}
    for site in net.space.sites:
        if site.stage is not None:
            own = parts.setdefault((site.stage, site.block), {})
            own[site.name.split(".")[-1]] = layers[site.name]
    blocks = {}
    for (stage, block), sites in parts.items():
        name = f"s{stage}.b{block}"
        residual = net.space.has_residual(stage, block)
        excite = make_squeeze_excite(net, stage, block)
        blocks[name] = ElasticBlock(sites, residual, net.layout, excite, name=name)
    return blocks


def make_site(net: "QFASupernet", site) -> ElasticSite:
    """The layer of one of `space.sites`, not built."""
    space, last = net.space, site.name.split(".")[-1]
    kernel_sizes, stride = (1,), 1
    if site.name == "stem":
        kernel_sizes, stride = (space.stem.kernel_size,), space.stem.stride
    elif last == "depthwise":
        kernel_sizes = space.stages[site.stage].kernel_sizes
        stride = space.block_stride(site.stage, site.block)
    grid = input_grid(space, site, net.signed_inputs)
    return ElasticSite(
        site.kind,
        input_width(space, site),
        output_width(space, site),
        kernel_sizes,
        weight_bits=site.weight_bits,
        activation_bits=site.activation_bits,
        stride=stride,
        activation=activation_of(space, site),
        padding=net.padding,
        normalization=has_normalization(site.name),
        use_bias=site.name == "classifier",
        zero_point=net.zero_point,
        signed_input=net.zero_point == "fractional" and _is_input_of_block(site),
        estimator=net.estimator,
        narrow_bits=net.narrow_bits,
        activation_quantizer=net.activation_quantizer,
        input_grid="offset" if net.activation_quantizer == "lsq_plus" else grid,
        shared_step=net.shared_step,
        name=site.name,
    )


def make_squeeze_excite(net: "QFASupernet", stage: int, block: int) -> SqueezeExcite | None:
    """The built squeeze-excite of a block; None when its stage has none."""
    if not net.space.stages[stage].squeeze_excite:
        return None
    width = net.space.max_mid_width(stage, block)
    squeeze_width, name = net.space.squeeze_width(width), f"s{stage}.b{block}.se"
    layer = SqueezeExcite(width, squeeze_width, net.arithmetic, name=name)
    layer.build()
    return layer


def _is_input_of_block(site) -> bool:
    """Whether a site reads what no activation function made non-negative; the release has signed
    codes there."""
    return site.name.endswith((".expand", "s0.b0.depthwise"))
