"""Records the means of PyTorch that `quantize_configs/ordered_sums.py` must reproduce.

    python scripts/make_torch_means.py tests/data/torch_means.npz        (needs the torch package)

The tensors are drawn anew by the test; the file holds their shapes and the means: `shapes`, and for
the tensor of position i `channels/i`, `spatial/i` and `all/i`.
"""

import sys

import numpy as np
import torch

SHAPES = (
    (1, 8, 8, 8),
    (2, 3, 5, 5),
    (4, 40, 7, 7),
    (5, 17, 13, 11),
    (7, 960, 2, 2),
    (16, 24, 16, 16),
    (16, 32, 1, 1),
    (64, 10, 4, 4),
    (3, 12, 112, 112),
)


def main(target: str) -> None:
    """Writes the file."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    arrays = {"shapes": np.array(SHAPES)}
    for index, shape in enumerate(SHAPES):
        x = torch.from_numpy(rng.standard_normal(shape, np.float32))
        arrays[f"channels/{index}"] = x.mean(dim=[0, 2, 3]).numpy()
        arrays[f"spatial/{index}"] = x.mean(3).mean(2).numpy()
        arrays[f"all/{index}"] = x.flatten(2).amax(2).mean().numpy()
    np.savez_compressed(target, **arrays)
    print(f"Recorded from PyTorch {torch.__version__}: {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
