"""Networks that were read from a Keras model."""

import dataclasses
from typing import Any, ClassVar

from qfa_tf.network.checks import from_fields
from qfa_tf.network.elasticity import ElasticityOptions, elastic_network
from qfa_tf.network.families.described import Described
from qfa_tf.network.files import to_fields
from qfa_tf.network.findings import Finding, FindingsTable
from qfa_tf.network.network import Network


@dataclasses.dataclass(frozen=True)
class KerasModel(Described):
    """The space of a model; `SearchSpace.from_model` makes it.

    Args:
      name: That of the model.
      description: See `Described`.
      findings: Everything that has or could have a choice.

    Raises:
      InvalidSpaceError: The description contradicts itself.
    """

    FAMILY: ClassVar[str] = "keras_model"

    findings: tuple[Finding, ...] = ()

    @classmethod
    def made_elastic(cls, name: str, rigid: Network, options: ElasticityOptions) -> "KerasModel":
        """The space of a network without choices; see `elastic_network`."""
        network, findings = elastic_network(rigid, options)
        return cls(name, to_fields(network), findings)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "KerasModel":
        """Reads what `dataclasses.asdict` gave, as JSON holds it."""
        space: KerasModel = from_fields(cls, fields, "A space of a Keras model")
        findings = tuple(_finding(entry) for entry in space.findings)
        return dataclasses.replace(space, findings=findings)

    def describe(self) -> FindingsTable:
        """What was found: choices by name, and what is fixed and why."""
        network = self.network()
        sites = len(network.sites)
        title = f"{self.name}: {sites} sites, {len(network.slots)} blocks that can be left out"
        return FindingsTable(title, self.findings)


def _finding(entry: Any) -> Finding:
    finding: Finding = from_fields(Finding, entry, "A finding")
    values, nodes = tuple(finding.values), tuple(finding.nodes)
    return dataclasses.replace(finding, values=values, nodes=nodes)
