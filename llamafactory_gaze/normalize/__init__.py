"""Stage-1 targets: the human descriptions, said again by the frozen base model in its own style (paper 3.2, A.4.1).

from llamafactory_gaze.normalize import NormalizeOptions, normalize_dataset

normalized = normalize_dataset(NormalizeOptions(name="osie"))
"""

from llamafactory_gaze.normalize.run import Normalized, NormalizeOptions, normalize_dataset


__all__ = ["NormalizeOptions", "Normalized", "normalize_dataset"]
