"""An inverted-residual block of a supernet."""

import tensorflow as tf

from qfa_tf.layers.activations import extremes
from qfa_tf.layers.observing import Observer, observed
from qfa_tf.layers.site import ElasticSite, SiteChoice
from qfa_tf.layers.squeeze_excite import SqueezeExcite
from qfa_tf.layers.statistics import Mode, StatisticsLayout
from quantize_configs.keras_backend import keras


class ElasticBlock(keras.layers.Layer):
    """Expand, depthwise, squeeze-excite, project, and the sum with the input where shapes allow it.

    Args:
      sites: The sites of the block by their last name: "expand" (absent at expand ratio 1),
        "depthwise", "project".
      has_residual: Whether the input is added to the output.
      layout: Statistics of the space.
      squeeze_excite: After the depthwise convolution, or None.
    """

    def __init__(
        self,
        sites: dict[str, ElasticSite],
        has_residual: bool,
        layout: StatisticsLayout,
        squeeze_excite: SqueezeExcite | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sites = sites
        self.has_residual = has_residual
        self.squeeze_excite = squeeze_excite
        self._layout = layout

    def call(
        self,
        x,
        choices: dict[str, SiteChoice],
        mode: Mode,
        statistics=None,
        observer: Observer | None = None,
    ):
        """Runs the block.

        Args:
          x: [N, H, W, C].
          choices: Choice per site, by the keys of `sites`.
          mode: Where statistics come from.
          statistics: In FROZEN mode, the whole vector of the subnet.
          observer: Of the layers of the block.

        Returns:
          (output, recorded): in CALIBRATE mode `recorded` is the block's part of the statistics
          vector, an empty vector otherwise.
        """
        source = x
        recorded = {}
        for key, site in self.sites.items():
            x, entries = run_site(site, x, choices[key], mode, self._layout, statistics, observer)
            recorded |= entries
            if key == "depthwise" and self.squeeze_excite is not None:
                shape = choices[key].squeeze
                x, parts = observed(
                    observer, self.squeeze_excite, x, shape, record=mode is Mode.CALIBRATE
                )
                recorded |= {f"{self.name}.se.{part}": value for part, value in parts.items()}
        if self.has_residual:
            x += source
            if mode is Mode.CALIBRATE:
                recorded[f"{self.name}.sum"] = extremes(x)
        if mode is Mode.CALIBRATE:
            return x, self._layout.pack(self.name, recorded)
        return x, tf.zeros([0])

    def skipped(self, x, mode: Mode):
        """What `call` returns for a block that the subnet leaves out: its input, no statistics."""
        size = self._layout.group_size(self.name) if mode is Mode.CALIBRATE else 0
        return tf.identity(x), tf.zeros([size])


def run_site(
    site: ElasticSite,
    x,
    choice,
    mode: Mode,
    layout: StatisticsLayout,
    statistics,
    observer: Observer | None = None,
):
    """Runs one site; recorded entries carry the site's name."""

    def stored(entry):
        return layout.read(statistics, f"{site.name}.{entry}")

    x, recorded = observed(observer, site, x, choice, mode, stored)
    return x, {f"{site.name}.{entry}": value for entry, value in recorded.items()}
