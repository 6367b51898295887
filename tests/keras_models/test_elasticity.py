"""What of a model becomes elastic, what is fixed and why, and what is refused."""

import numpy as np
import pytest
from small_models import MODELS, SIZE, made

from qfa_tf import SearchSpace
from qfa_tf.errors import QFAError
from qfa_tf.keras_models import read_model
from qfa_tf.keras_models.reading import PixelRangeWarning
from qfa_tf.network.elasticity import ChannelGroups, ElasticityOptions, elastic_network
from qfa_tf.network.elasticity.importance import channel_orders
from quantize_configs.keras_backend import keras

layers = keras.layers


@pytest.fixture(scope="module")
def rigid():
    """Networks of the small models without choices, by name."""
    return {name: read_model(made(make)).network for name, make in MODELS.items()}


def groups(network):
    return {group.name: group for group in ChannelGroups(network).groups}


def elastic(network, **options):
    found, findings = elastic_network(network, ElasticityOptions(**options))
    return found, {finding.name: finding for finding in findings}


def test_groups_are_closed_over_sums_products_and_depthwise_convolutions(rigid):
    found = groups(rigid["residual"])
    assert found["stem"].is_residual
    assert {"norm_0", "project_0", "sum_0", "norm_1", "project_1", "sum_1"} <= {
        *found["stem"].nodes
    }
    inner = {"expand_0", "swish_0", "spatial_0", "mean_0", "gate_0", "gate_0.function", "gated_0"}
    assert inner == {*found["expand_0"].nodes}
    assert found["expand_0"].makers == ["expand_0", "gate_0"]
    assert found["squeeze_0"].channels == 8


def test_concatenations_keep_groups_apart(rigid):
    tables = ChannelGroups(rigid["dense_connections"])
    names = [group.name for group in tables.parts("joined_2")]
    assert names == ["stem", "grow_0", "grow_1", "grow_2"]
    assert names == [group.name for group in tables.parts("last_norm")]


@pytest.mark.parametrize(
    ("model", "group", "reason"),
    [
        ("plain", "picture", "is the image"),
        ("plain", "conv_1", "'flat' mixes channels and positions"),
        ("plain", "answer", "is an output"),
        ("tied", "stem", "'grouped' convolves in groups"),
        ("tied", "half_0", "put together in different ways"),
        ("tied", "mixed", "put together in different ways"),
    ],
)
def test_what_is_fixed_has_a_reason(model, group, reason, rigid):
    assert reason in groups(rigid[model])[group].fixed


def test_a_tensor_beside_itself_is_fixed():
    x = inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(16, 3, padding="same", name="first")(x)
    x = layers.Concatenate(name="twice")([x, x])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 1, name="last")(x))
    network = read_model(keras.Model(inputs, layers.Dense(5)(x))).network
    assert "'twice' has them twice" in groups(network)["first"].fixed


def test_one_output_channel_is_no_depthwise_convolution(rigid):
    assert rigid["tied"].node("single").kind == "convolution"
    assert groups(rigid["tied"])["single"].channels == 1


def test_widths_are_multiples_of_the_divisor_and_residual_ones_come_on_request(rigid):
    _, found = elastic(rigid["residual"], width_ratios=(0.25, 0.5, 1.0))
    assert found["expand_0.width"].values == (8, 16, 32)
    assert found["stem.width"].values == (16,)
    assert "residual_widths=True" in found["stem.width"].reason
    network, found = elastic(rigid["residual"], residual_widths=True)
    assert found["stem.width"].values == (8, 16)
    assert network.width("project_1").choices == ("stem.width",)


def test_blocks_are_left_out_by_depth_or_freely(rigid):
    network, found = elastic(rigid["residual"])
    assert found["sum_0.depth"].values == (0, 1, 2)
    assert [slot.name for slot in network.slots] == ["sum_0", "sum_1"]
    assert network.choice("expand_1.width").slot == "sum_1"
    _, found = elastic(rigid["residual"], optional_blocks="free")
    assert found["sum_0.depth"].values == found["sum_1.depth"].values == (0, 1)
    for by_depth in (True, "depth"):
        network, _ = elastic(rigid["residual"], optional_blocks=by_depth)
        assert [slot.name for slot in network.slots] == ["sum_0", "sum_1"]
    network, _ = elastic(rigid["residual"], optional_blocks=False)
    assert not network.slots
    network, _ = elastic(rigid["plain"])
    assert not network.slots


def test_a_table_is_edited_and_given_back():
    model = made(MODELS["residual"])
    table = SearchSpace.from_model(model).describe()
    table["expand_0.width"] = (24, 32)
    table["spatial_1.kernel_size"] = (5,)
    table["project_0.weight_bits"] = (4,)
    space = SearchSpace.from_model(model, elastic=table)
    assert space.lookup("expand_0.width").choices == (24, 32)
    assert space.network.node("spatial_1").kernel_size == 5
    assert space.lookup("project_0.weight_bits").choices == (4,)
    text = str(space.describe())
    assert "expand_0.width" in text
    assert "on a residual path" in text
    with pytest.raises(KeyError, match=r"no choice 'expand_7\.width'"):
        table["expand_7.width"] = (8,)


def test_bits_are_fixed_by_name_and_pattern(rigid):
    bits = {"project_*": (4, 8), "project_1": (32, 32)}
    network, found = elastic(rigid["residual"], fixed_bits=bits)
    assert found["project_0.weight_bits"].values == (4,)
    assert found["project_1.activation_bits"].values == (32,)
    assert network.weight_bits(network.node("stem")) == (8,)
    network, _ = elastic(rigid["residual"], end_bits=None)
    assert network.weight_bits(network.node("stem")) == (2, 3, 4, 8)


def test_resolutions_of_a_network_that_ends_in_a_global_pooling(rigid):
    network, _ = elastic(rigid["residual"], resolutions=(12, SIZE))
    assert network.size("stem", 12) == 6
    with pytest.raises(QFAError, match="'flat' makes a vector of a map of one size"):
        elastic(rigid["plain"], resolutions=(12, SIZE))
    with pytest.raises(QFAError, match="must end with 16"):
        elastic(rigid["residual"], resolutions=(12, 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed_bits": {"conv_9": (8, 8)}}, "names 'conv_9', which no site"),
        ({"elastic": {"conv_9.width": (8,)}}, r"names \['conv_9.width'\]"),
        ({"elastic": {"hidden.width": (8, 48)}}, "must be from 1 to 24"),
        ({"elastic": {"conv_1.width": (8, 16)}}, "because 'flat' mixes channels"),
        ({"elastic": {"conv_1.weight_bits": (5,)}}, r"must be some of \[2, 3, 4, 8\]"),
        ({"width_ratios": (0.5, 0.75)}, "the last one 1"),
        ({"optional_blocks": "some"}, "optional_blocks must be one of"),
        ({"optional_blocks": "free"}, "no residual branch"),
        ({"optional_blocks": "depth"}, "no residual branch"),
        ({"optional_blocks": True}, "no residual branch.*Received: optional_blocks=True"),
        ({"weight_bits": (5,)}, "weight_bits must be one of"),
    ],
)
def test_options_that_the_network_has_not_are_refused(options, message, rigid):
    with pytest.raises(QFAError, match=message):
        elastic(rigid["plain"], **options)


def test_the_most_important_channels_come_first(rigid):
    network = rigid["plain"]
    tables = ChannelGroups(network)
    written = {site.name: np.ones(network.largest_width(site.name)) for site in network.sites}
    read = {site.name: np.ones(network.largest_width(site.inputs[0])) for site in network.sites}
    written["hidden"][[5, 7]] = 9.0, 4.0
    orders = channel_orders(network, tables, written, read)
    assert orders["hidden"][:3].tolist() == [5, 7, 0]
    assert sorted(orders["hidden"]) == list(range(24))
    assert orders["conv_1"].tolist() == list(range(16))


def model_of(*made_layers, shape=(SIZE, SIZE, 3)):
    x = inputs = keras.Input(shape, name="picture")
    for layer in made_layers:
        x = layer(x)
    return keras.Model(inputs, x, name="refused")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: model_of(layers.Conv2D(8, 3, dilation_rate=(1, 2), name="wide")),
            "'wide' has the dil",
        ),
        (lambda: model_of(layers.Conv2D(8, (1, 3), name="flat")), "'flat' has the kernel"),
        (lambda: model_of(layers.Conv2D(8, 3, strides=(1, 2), name="odd")), "'odd' has the kernel"),
        (lambda: model_of(layers.DepthwiseConv2D(3, depth_multiplier=2, name="two")), "'two' has"),
        (
            lambda: model_of(layers.Conv2D(8, 3), layers.PReLU(name="leak")),
            "'leak' .*one for each channel",
        ),
        (
            lambda: model_of(layers.Conv2D(8, 3), layers.ReLU(max_value=3.0, name="low")),
            "'low' .*threshold or another limit",
        ),
        (
            lambda: model_of(layers.Conv2D(8, 3), layers.Softmax(name="mid"), layers.Conv2D(2, 1)),
            "'mid' .*computes softmax",
        ),
        (lambda: model_of(layers.Conv2DTranspose(8, 3, name="up")), "'up' is a Conv2DTranspose"),
        (
            lambda: model_of(layers.Conv2D(8, 1), layers.Reshape((64, 32), name="mix")),
            "'mix'.*mixes",
        ),
        (
            lambda: model_of(layers.MaxPooling2D((1, 2), name="p"), layers.Conv2D(8, 1)),
            "'p'.*equal",
        ),
        (lambda: model_of(layers.ZeroPadding2D(1), layers.ReLU()), "no Conv|no convolution"),
        (lambda: model_of(layers.Conv2D(8, 3), shape=(SIZE, 24, 3)), "square images"),
        (lambda: model_of(layers.Conv2D(8, 3), shape=(None, None, 3)), "square images"),
    ],
)
def test_models_without_an_elastic_counterpart_are_refused_by_name(make, message):
    with pytest.raises(QFAError, match=message):
        SearchSpace.from_model(make())


def test_models_with_several_inputs_are_refused():
    pictures = [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    x = layers.Add()([layers.Conv2D(4, 1)(picture) for picture in pictures])
    with pytest.raises(QFAError, match="has 2 inputs; a supernet has one"):
        SearchSpace.from_model(keras.Model(pictures, x))


def test_one_result_twice_is_refused():
    picture = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 1, name="answer")(picture)
    with pytest.raises(QFAError, match="gives one result twice"):
        SearchSpace.from_model(keras.Model(picture, [x, x]))


def test_attention_is_refused_by_name():
    picture = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((SIZE * SIZE, 4))(layers.Conv2D(4, 1)(picture))
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    with pytest.raises(QFAError, match="'attention' is a MultiHeadAttention"):
        SearchSpace.from_model(keras.Model(picture, layers.Dense(5)(x)))


def test_other_models_are_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(QFAError, match=r"functional|Functional"):
        SearchSpace.from_model(Subclassed())


def test_keras_3_models_are_read_as_well():
    import keras as keras3

    x = inputs = keras3.Input((SIZE, SIZE, 1), name="picture")
    x = keras3.layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(x)
    x = keras3.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras3.Model(inputs, keras3.layers.Dense(5, name="last")(x))
    space = SearchSpace.from_model(model)
    assert [site.name for site in space.sites] == ["first", "last"]
    assert space.lookup("first.width").choices == (8, 16)


def test_slopes_of_channels_leave_their_width_elastic():
    slopes = layers.PReLU(shared_axes=[1, 2], name="slopes")
    model = model_of(layers.Conv2D(16, 3, name="first"), slopes, layers.Conv2D(5, 1, name="last"))
    space = SearchSpace.from_model(model)
    assert space.lookup("first.width").choices == (8, 16)
    assert [site.name for site in space.sites] == ["first", "slopes.slope", "slopes.rest", "last"]


def test_a_model_of_bytes_is_read_for_bytes():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="own")(image)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    with pytest.warns(PixelRangeWarning, match=r"'own'.*0\.00392.*pixel_range=\(0, 255\)"):
        SearchSpace.from_model(model)
    SearchSpace.from_model(model, pixel_range=(0, 255))  # warnings are errors here
