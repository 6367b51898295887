"""Where a training step goes wrong: the subnet, the site, and the tensor that is not finite."""

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.space import Architecture
from qfa_tf.training.layer_watch import find_layer

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.supernet import QFASupernet

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The first value of a step that is not finite.

    Attributes:
      step: Number of the step, from 1.
      what: For people, such as "the output of s1.b0.expand".
      site: Site or squeeze-excite where it appeared; None outside of all.
      role: Role of the subnet, None when it is not about one.
      architecture: The subnet.
      state: For people, what the site had: largest weight and gain, and its quantizers.
    """

    step: int
    what: str
    site: str | None = None
    role: str | None = None
    architecture: Architecture | None = None
    state: str | None = None

    def __str__(self) -> str:
        state = "" if self.state is None else f" {self.site} has {self.state}."
        if self.architecture is None:
            return f"{self.what} was the first not to be finite.{state}"
        subnet = self.role if self.role == "subnet" else f"{self.role} subnet"  # trained alone
        return (
            f"{self.what} was the first not to be finite, in the {subnet}.{state} The subnet:\n"
            f"{self.architecture.describe()}\n"
        )

    def to_json(self) -> str:
        """As JSON text."""
        content = {"schema_version": SCHEMA_VERSION} | dataclasses.asdict(self)
        if self.architecture is not None:
            content["architecture"] = json.loads(self.architecture.to_json())
        return json.dumps(content, indent=1) + "\n"


def find_divergence(
    net: "QFASupernet", step: int, shards: Iterable[tuple["tf.Tensor", "tf.Tensor"]]
) -> Divergence | None:
    """Repeats a step without its update and looks at everything, site by site.

    Args:
      net: Compiled, with the weights before the step.
      step: Steps that were done before it.
      shards: The images and labels of each replica.

    Returns:
      What was found; None when every value is finite.
    """
    found = find_broken_weight(net, step + 1)
    if found is not None:
        return found
    for replica, (images, labels) in enumerate(shards):
        found = _find_in_shard(net, step, replica, images, labels)
        if found is not None:
            return found
    return None


def find_broken_weight(net: "QFASupernet", step: int) -> Divergence | None:
    """The first weight that is not finite, reported as of `step`; None when all are."""
    for weight in net.weights:
        value = weight.numpy()
        if not np.isfinite(value).all():
            site = _site_of_weight(net, weight, value)
            what = f"the weight {weight.name} of {site or net.name}"
            return Divergence(step, what, site, state=_state(net, site))
    return None


def _find_in_shard(net, step, replica, images, labels) -> Divergence | None:
    import tensorflow as tf

    method, space = net.training_method, net.space
    number = tf.constant(step, tf.int64)
    if not np.isfinite(images.numpy()).all():
        return Divergence(step + 1, "an image of the batch")
    known = tf.zeros([images.shape[0], net.heads.size])
    if method.recipe.distillation == "external":
        known = tf.cast(method.recipe.teacher(images), tf.float32)
        if not np.isfinite(known.numpy()).all():
            return Divergence(step + 1, "the output of the external teacher")
    gradients_of, weights = method.weighted_gradients, [tf.ones(labels.shape[:1])]
    if labels.shape.rank == 1:
        gradients_of, weights = method.subnet_gradients, []
        labels = tf.cast(labels, tf.int32)
    genomes = method.genomes(number)
    trained = method.roles_in_stage(int(method.stage_of(number)))
    position = 0
    for row, role in enumerate(method.roles):
        if role not in trained:
            continue
        seed = method.dropout_seed(number, row, replica)
        arguments = (images, labels, genomes[row], known)
        computed = tf.cast(images, method.recipe.compute_dtype)
        loss, logits, gradients = gradients_of(*arguments, method.share(position), seed, *weights)
        site, what = _find_in_gradients(net, loss, gradients)
        if what is not None or not np.isfinite(logits.numpy()).all():
            # A value may be lost on its way to the logits: the activation functions have bounds.
            forward = find_layer(net, computed, genomes[row])
            site, what = forward if forward[1] is not None else (site, what)
        if what is not None:
            architecture = space.decode(genomes[row].numpy())
            state = _state(net, site)
            return Divergence(step + 1, what, site, role, architecture, state)
        known = logits if role == "teacher" else known
        position += 1
    return None


def _find_in_gradients(net, loss, gradients):
    """(site, what) of the first gradient that is not finite, of a subnet with finite logits."""
    if not np.isfinite(loss.numpy()):
        return None, "the loss of finite logits"
    order = [site.name for site in net.space.sites]
    broken = {}
    for variable, gradient in zip(net.trainable_variables, gradients, strict=True):
        value = gradient.numpy()
        if not np.isfinite(value).all():
            broken[_site_of_weight(net, variable, value)] = variable.name
    if not broken:
        return None, None
    # Gradients are computed from the classifier back to the stem.
    site = max(broken, key=lambda name: order.index(name) if name in order else -1)
    return site, f"the gradient of {broken[site]} of {site or net.name}"


def _site_of_weight(net, weight, value: np.ndarray) -> str | None:
    """The last site that a value of a weight, or of its gradient, is not finite in.

    None for the weights of squeeze-excite.
    """
    sites = [site.name for site in net.space.sites]
    for site in sites:
        if any(weight is own for own in net.site_layer(site).weights):
            return site
    bank = net.precision
    if any(weight is own for own in bank.weights):
        place = bank.steps_of if weight is bank.step else bank.activations_of
        kind = "weight" if weight is bank.step else "activation"
        for site in reversed(sites):
            if getattr(bank.sites[site], kind) is None:
                continue
            if not np.isfinite(value[place(site)]).all():
                return site
    return None


def _state(net, site: str | None) -> str | None:
    """The largest weight and gain of a site, and what its quantizers learned."""
    if site not in net.precision.sites:
        return None
    layer, parts = net.site_layer(site), []
    parts.append(f"weights up to {np.abs(layer.kernel.numpy()).max():.3g}")
    if layer.normalization:
        parts.append(f"gains up to {layer.gamma.numpy().max():.3g}")
    bank = net.precision
    if layer.weight_quantizer is not None:
        steps = np.abs(bank.step.numpy()[bank.steps_of(site)])
        parts.append(f"weight steps from {steps.min():.3g} to {steps.max():.3g}")
    if layer.activation_quantizer is not None:
        for role in bank.activation_roles:
            values = getattr(bank, role).numpy()[bank.activations_of(site)]
            parts.append(f"{role} from {values.min():.3g} to {values.max():.3g}")
    return ", ".join(parts)
