"""Settings of the gaze model: the stock Qwen2.5-VL configuration plus the `gaze_*` fields of the visual tower."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig


IN_TOWER = ("cross_attention", "score_modulation", "input_channel")
IN_PICTURE = ("overlay", "dim", "crop")
IN_PROMPT = ("text",)
GAZE_FUSIONS = IN_TOWER + IN_PICTURE + IN_PROMPT
GAZE_QUERIES = ("patch", "global")
GAZE_NORMS = ("pre", "post")
GAZE_SCOPES = ("image", "window")
# Each field, and the value that it has where nobody says otherwise; None is resolved from the tower's size.
GAZE_DEFAULTS: dict[str, Any] = {
    "gaze_fusion": "cross_attention",
    "gaze_layers": None,
    "gaze_num_heads": None,
    "gaze_query": "patch",
    "gaze_norm": "pre",
    "gaze_rope": False,
    "gaze_scope": "image",
}
GAZE_FIELDS = tuple(GAZE_DEFAULTS)
# What the paper's formulas say (appendix A.3.2), where it differs from what we recommend or could differ one day.
PRESETS = {
    "paper": {
        "gaze_fusion": "cross_attention",
        "gaze_query": "patch",
        "gaze_norm": "post",
        "gaze_rope": False,
        "gaze_scope": "image",
    },
}


def default_gaze_layers(depth: int) -> list[int]:
    """The one late block that is patched by default: block 28 of the 32 of the 3B and the 7B tower (paper A.5)."""
    return [depth * 7 // 8]


@strict
class Qwen2_5_VLGazeVisionConfig(Qwen2_5_VLVisionConfig):
    r"""
    gaze_fusion (`str`, *optional*, defaults to `"cross_attention"`):
        How gaze comes in. Into the tower: `"cross_attention"` (the paper's), `"score_modulation"` (A.2.2),
        `"input_channel"` (A.2.1). Drawn into the picture, so that the tower stays as it is: `"overlay"`, `"dim"`,
        `"crop"`. Written into the prompt: `"text"`.
    gaze_layers (`list[int]`, *optional*):
        Blocks that carry a calibrator, from 0; the tower is trained from the first of them on, also where gaze comes in
        by the picture or the prompt. The default is one late block, `[depth * 7 // 8]`; `[]` for `"input_channel"`,
        which comes in before all blocks.
    gaze_num_heads (`int`, *optional*):
        Heads of the cross-attention (the paper's h_cross). The default is the tower's own `num_heads`.
    gaze_query (`str`, *optional*, defaults to `"patch"`):
        `"patch"`: one query for each image patch (N_s = N_p). `"global"`: one query for each image (N_s = 1), whose
        answer is added to every patch.
    gaze_norm (`str`, *optional*, defaults to `"pre"`):
        `"pre"`: x + Z, the tower's own pre-norm habit. `"post"`: LayerNorm(x + Z), as the paper writes it.
    gaze_rope (`bool`, *optional*, defaults to `False`):
        Whether the tower's rotary positions turn the queries and keys of the cross-attention. The paper's have none.
    gaze_scope (`str`, *optional*, defaults to `"image"`):
        What a query of the cross-attention sees: the whole `"image"`, or its `"window"` of the tower, 8 x 8 patches,
        whose cost is linear in the patches.
    """

    model_type = "qwen2_5_vl_gaze_vision"

    gaze_fusion: str = "cross_attention"
    gaze_layers: list[int] | tuple[int, ...] | None = None
    gaze_num_heads: int | None = None
    gaze_query: str = "patch"
    gaze_norm: str = "pre"
    gaze_rope: bool = False
    gaze_scope: str = "image"

    def __post_init__(self, **kwargs: Any) -> None:
        if self.gaze_layers is None:
            self.gaze_layers = [] if self.gaze_fusion == "input_channel" else default_gaze_layers(self.depth)
        self.gaze_layers = sorted(self.gaze_layers)
        if self.gaze_num_heads is None:
            self.gaze_num_heads = self.num_heads
        self._check_gaze()
        super().__post_init__(**kwargs)

    def _check_gaze(self) -> None:
        for field, allowed in (
            ("gaze_fusion", GAZE_FUSIONS),
            ("gaze_query", GAZE_QUERIES),
            ("gaze_norm", GAZE_NORMS),
            ("gaze_scope", GAZE_SCOPES),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} is {getattr(self, field)!r}: allowed are {', '.join(allowed)}.")
        self._check_layers()
        heads = self.gaze_num_heads or 0
        if heads < 1 or self.hidden_size % heads:
            divisors = [n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0]
            raise ValueError(
                f"gaze_num_heads is {self.gaze_num_heads}: the tower's width {self.hidden_size} must be divisible by "
                f"it. Allowed: {', '.join(map(str, divisors))}."
            )
        if self.gaze_fusion != "cross_attention":
            stated = {"gaze_query": self.gaze_query != "patch", "gaze_norm": self.gaze_norm != "pre"}
            stated |= {"gaze_rope": self.gaze_rope, "gaze_num_heads": heads != self.num_heads}
            stated |= {"gaze_scope": self.gaze_scope != "image"}
            if any(stated.values()):
                name = next(name for name, differs in stated.items() if differs)
                raise ValueError(
                    f"{name} is a setting of gaze_fusion cross_attention and means nothing for {self.gaze_fusion}: "
                    "take it out."
                )
        if self.gaze_rope and (self.gaze_query == "global" or heads != self.num_heads):
            raise ValueError(
                "gaze_rope turns queries by the position of their patch, in heads as wide as the tower's: it needs "
                f"gaze_query patch and gaze_num_heads {self.num_heads}."
            )

        if self.gaze_scope == "window" and self.gaze_query == "global":
            raise ValueError("gaze_scope window is about the queries of patches; with gaze_query global take it out.")

    def _check_layers(self) -> None:
        layers = self.gaze_layers or []
        if self.gaze_fusion == "input_channel":
            if layers:
                raise ValueError(
                    f"gaze_layers is {layers}: gaze_fusion input_channel comes in before the first block and patches "
                    "none; write gaze_layers [] or take it out."
                )
        elif not layers or len(set(layers)) != len(layers) or not all(0 <= layer < self.depth for layer in layers):
            raise ValueError(
                f"gaze_layers is {layers}: give at least one block of the visual tower, each once, "
                f"from 0 to {self.depth - 1}."
            )

    @property
    def saliency_width(self) -> int:
        """Values of the saliency map in one patch, the paper's d_s,raw: temporal_patch_size * patch_size**2."""
        return self.temporal_patch_size * self.patch_size**2

    @property
    def first_trained_block(self) -> int:
        """The first block with gaze; -1 where gaze comes in before all blocks."""
        return min(self.gaze_layers or (), default=-1)

    def gaze_settings(self) -> dict[str, Any]:
        """The gaze fields as plain JSON values; what a trained adapter must agree with."""
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
            gaze_fields: any of `GAZE_FIELDS`; others keep their value.

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
        return cls(**values, attn_implementation=config._attn_implementation)
