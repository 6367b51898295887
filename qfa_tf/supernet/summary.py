"""What a supernet is, in a few lines: its choices, what subnets cost, where its weights are."""

from collections.abc import Iterator

import numpy as np

from qfa_tf.cost import CostModel
from qfa_tf.supernet.protocol import Supernet


def summary_lines(net: Supernet) -> Iterator[str]:
    """The lines of `QFASupernet.summary`."""
    space = net.space
    shape = f"{space.resolutions[-1]} x {space.resolutions[-1]} x {space.input_channels}"
    yield f"Supernet {net.name!r} of the space {space.name!r}: {space.size():.1e} subnets"
    yield f"  images {shape} to {space.num_classes} classes; resolutions {_text(space.resolutions)}"
    yield (
        f"  weight bits {_text(space.weight_bits)}; activation bits "
        f"{_text(space.activation_bits)}; {space.n_genes} genes"
    )
    yield ""
    titles = ("MACs", "parameters", "weight bytes", "MFLOPs (8 bit)")
    yield f"  {'subnet':<22}" + "".join(f"{title:>16}" for title in titles)
    low, high = min(space.weight_bits), max(space.weight_bits)
    subnets = {
        f"smallest, {low} bits": space.smallest(),
        f"largest, {high} bits": space.largest(),
    }
    genomes = np.stack([space.encode(subnet) for subnet in subnets.values()])
    costs = CostModel(space).evaluate(genomes)
    for place, name in enumerate(subnets):
        macs, params, size, flops = (
            costs[metric][place] for metric in ("macs", "params", "weight_bytes", "mflops_8bit")
        )
        yield f"  {name:<22}{macs:>16,.0f}{params:>16,.0f}{size:>16,.0f}{flops:>16,.4g}"
    yield ""
    total = _count(net.weights)
    learned = _count(net.precision.weights)
    trained = _count(net.trainable_weights)
    yield (
        f"  {total:,} shared numbers in {len(net.weights)} weights, {trained:,} of them trainable, "
        f"{learned:,} of quantizers"
    )
    method = net.training_method
    if method is None:
        yield "  not compiled: compile(optimizer, training=QFATraining())"
        return
    yield (
        f"  trained with {type(method.recipe).__name__}, {len(method.roles)} subnets per step: "
        f"{', '.join(method.roles)}; {int(net.optimizer.iterations):,} steps done"
    )


def _text(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _count(weights: list) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)
