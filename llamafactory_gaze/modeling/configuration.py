"""Settings of the gaze model: the stock Qwen2.5-VL configuration plus four `gaze_*` fields of the visual tower."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig


GAZE_QUERIES = ("patch", "global")
GAZE_NORMS = ("pre", "post")
GAZE_FIELDS = ("gaze_layers", "gaze_num_heads", "gaze_query", "gaze_norm")


def default_gaze_layers(depth: int) -> list[int]:
    """The one late block that is patched by default: block 28 of the 32 of the 3B and the 7B tower (paper A.5)."""
    return [depth * 7 // 8]


@strict
class Qwen2_5_VLGazeVisionConfig(Qwen2_5_VLVisionConfig):
    r"""
    gaze_layers (`list[int]`, *optional*):
        Blocks that carry a calibrator, from 0. The default is one late block, `[depth * 7 // 8]`.
    gaze_num_heads (`int`, *optional*):
        Heads of the cross-attention (the paper's h_cross). The default is the tower's own `num_heads`.
    gaze_query (`str`, *optional*, defaults to `"patch"`):
        `"patch"`: one query for each image patch (N_s = N_p). `"global"`: one query for each image (N_s = 1), whose
        answer is added to every patch.
    gaze_norm (`str`, *optional*, defaults to `"pre"`):
        `"pre"`: x + Z, the tower's own pre-norm habit. `"post"`: LayerNorm(x + Z), as the paper writes it.
    """

    model_type = "qwen2_5_vl_gaze_vision"

    gaze_layers: list[int] | tuple[int, ...] | None = None
    gaze_num_heads: int | None = None
    gaze_query: str = "patch"
    gaze_norm: str = "pre"

    def __post_init__(self, **kwargs: Any) -> None:
        if self.gaze_layers is None:
            self.gaze_layers = default_gaze_layers(self.depth)
        self.gaze_layers = sorted(self.gaze_layers)
        if self.gaze_num_heads is None:
            self.gaze_num_heads = self.num_heads
        self._check_gaze()
        super().__post_init__(**kwargs)

    def _check_gaze(self) -> None:
        layers, heads = self.gaze_layers, self.gaze_num_heads or 0
        if not layers or len(set(layers)) != len(layers) or not all(0 <= layer < self.depth for layer in layers):
            raise ValueError(
                f"gaze_layers is {layers}: give at least one block of the visual tower, each once, "
                f"from 0 to {self.depth - 1}."
            )
        if heads < 1 or self.hidden_size % heads:
            allowed = [n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0]
            raise ValueError(
                f"gaze_num_heads is {self.gaze_num_heads}: the tower's width {self.hidden_size} must be divisible by "
                f"it. Allowed: {', '.join(map(str, allowed))}."
            )
        if self.gaze_query not in GAZE_QUERIES:
            raise ValueError(f"gaze_query is {self.gaze_query!r}: allowed are {', '.join(GAZE_QUERIES)}.")
        if self.gaze_norm not in GAZE_NORMS:
            raise ValueError(f"gaze_norm is {self.gaze_norm!r}: allowed are {', '.join(GAZE_NORMS)}.")

    @property
    def saliency_width(self) -> int:
        """Values of the saliency map in one patch, the paper's d_s,raw: temporal_patch_size * patch_size**2."""
        return self.temporal_patch_size * self.patch_size**2

    def gaze_settings(self) -> dict[str, Any]:
        """The four gaze fields as plain JSON values; what a trained adapter must agree with."""
        return {field: getattr(self, field) for field in GAZE_FIELDS}


@strict
class Qwen2_5_VLGazeConfig(Qwen2_5_VLConfig):
    r"""
    Configuration of [`Qwen2_5_VLGazeForConditionalGeneration`]: a stock `Qwen2_5_VLConfig` whose `vision_config` is a
    [`Qwen2_5_VLGazeVisionConfig`].

    Example:

    ```python
    >>> from transformers import AutoConfig
    >>> stock = AutoConfig.from_pretrained("Qwen/Qwen2.5-VL-3B-Instruct")
    >>> config = Qwen2_5_VLGazeConfig.from_stock(stock, gaze_layers=[24])
    ```
    """

    model_type = "qwen2_5_vl_gaze"
    sub_configs = {  # noqa: RUF012 - transformers' own convention
        "vision_config": Qwen2_5_VLGazeVisionConfig,
        "text_config": Qwen2_5_VLConfig.sub_configs["text_config"],
    }

    @classmethod
    def from_stock(cls, config: Qwen2_5_VLConfig, **gaze_fields: Any) -> "Qwen2_5_VLGazeConfig":
        """Turns a Qwen2.5-VL configuration (stock, or already a gaze one) into a gaze configuration.

        Args:
            config: the configuration of the base model.
            gaze_fields: any of `gaze_layers`, `gaze_num_heads`, `gaze_query`, `gaze_norm`; others keep their value.

        Raises:
            ValueError: a gaze field has a value that this tower cannot have; the message names the allowed ones.
        """
        values = config.to_dict()
        values.pop("model_type")
        values["vision_config"] = {
            **{k: v for k, v in values["vision_config"].items() if k != "model_type"},
            **gaze_fields,
        }
        values["text_config"].pop("model_type")
        # The choice of attention kernel is private state that to_dict leaves out.
        return cls(**values, attn_implementation=config._attn_implementation_internal)
