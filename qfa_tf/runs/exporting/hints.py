"""What a person may want to choose otherwise, after an export."""

from qfa_tf.runs.exporting.options import DEFAULT_RUNTIME
from quantize_configs.kernels.large_filters import CPU_RUNTIME, LARGEST_DEPTHWISE


def slow_filters(flatbuffer: bytes, runtime: str) -> str:
    """What to do about filters that XNNPACK computes slowly; empty where there are none.

    Args:
      flatbuffer: Bytes of the .tflite file.
      runtime: What it was made for; see `tflite_tools.convert`.
    """
    from tflite_tools.flatbuffer.graph_reader import read_graph
    from tflite_tools.lowering.slow_operators import slow_in_xnnpack

    if runtime != DEFAULT_RUNTIME or not (slow := slow_in_xnnpack(read_graph(flatbuffer))):
        return ""
    return (
        f"XNNPACK is slow with depthwise filters of more than {LARGEST_DEPTHWISE} weights; the "
        f"file has {len(slow)}, such as {slow[0].name}. On processors --runtime={CPU_RUNTIME} "
        "leaves them to the built-in kernels (docs/deployment.md, Kernels)."
    )
