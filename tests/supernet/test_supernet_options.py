"""The options of a supernet have one source, which its signature, help and config show."""

import inspect

import pytest

from qfa_tf import QFASupernet
from qfa_tf.supernet.options import SupernetOptions
from quantize_configs.options import options_of

OPTIONS = options_of(SupernetOptions)


def changed(one):
    """An allowed value that is not the default."""
    if one.choices is not None:
        return next(choice for choice in one.choices if choice != one.default)
    return {bool: True, float: 0.25, tuple: (4, 8)}[type(one.default)]


def test_signature_and_help():
    shown = inspect.signature(QFASupernet).parameters
    assert list(shown)[:2] == ["space", "num_classes"]
    for name, one in OPTIONS.items():
        assert (shown[name].default, shown[name].kind) == (
            one.default,
            inspect.Parameter.KEYWORD_ONLY,
        )
        assert f"      {name}: {one.help[:30]}" in QFASupernet.__doc__
    assert "{options}" not in QFASupernet.__doc__


@pytest.mark.parametrize("name", OPTIONS)
def test_round_trip(small_space, name):
    one = OPTIONS[name]
    options = {name: changed(one)}
    if name == "signed_inputs":
        options["activation_quantizer"] = "lsq"
    net = QFASupernet(small_space, **options)
    again = QFASupernet.from_config(net.get_config())
    for other, declared in OPTIONS.items():
        assert getattr(again, other) == options.get(other, declared.default)
    assert again.space == small_space


def test_unknown_options_are_refused(small_space):
    with pytest.raises(TypeError, match="paddings"):
        QFASupernet(small_space, paddings="same")
