"""Operations and bytes counted on our own modules of the real sizes, on torch's meta device: nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

from benchmarks.cost.shapes import Language, Tower
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionConfig, Qwen2_5_VLGazeVisionTransformer


def tower_module(tower: Tower, device: str = "meta", **gaze: Any) -> Qwen2_5_VLGazeVisionTransformer:
    config = Qwen2_5_VLGazeVisionConfig(
        depth=tower.depth, hidden_size=tower.width, intermediate_size=tower.inner, num_heads=tower.heads,
        out_hidden_size=tower.out, fullatt_block_indexes=list(tower.full), window_size=14 * tower.window, **gaze,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with torch.device(device):
        module = Qwen2_5_VLGazeVisionTransformer(config)
    if device == "meta":
        _lay_out_on_the_host(module)
    return module.eval()


def _lay_out_on_the_host(module: Qwen2_5_VLGazeVisionTransformer) -> None:
    """Lengths and places of windows are read as numbers, which a module on meta has none of."""
    module.rotary_pos_emb.to_empty(device="cpu")
    lay_out = module.layout

    def layout(grid_thw: Tensor, device: torch.device) -> Any:
        made = lay_out(grid_thw, torch.device("cpu"))
        return made._replace(position_embeddings=tuple(each.to(device) for each in made.position_embeddings))

    module.layout = layout


def language_module(language: Language, device: str = "meta") -> Qwen2_5_VLTextModel:
    config = Qwen2_5_VLTextConfig(
        hidden_size=language.width, intermediate_size=language.inner, num_hidden_layers=language.layers,
        num_attention_heads=language.heads, num_key_value_heads=language.kv_heads, vocab_size=language.vocabulary,
        rope_parameters={"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with torch.device(device):
        return Qwen2_5_VLTextModel(config)


def run_language(module: Qwen2_5_VLTextModel, tokens: int) -> Tensor:
    """Tokens whose embeddings want a gradient, as those of an image do; without the vocabulary at the end."""
    width, device = module.config.hidden_size, next(module.parameters()).device
    embeddings = torch.zeros(1, tokens, width, dtype=module.dtype, device=device, requires_grad=True)
    positions = torch.arange(tokens, device=device).expand(3, 1, tokens)
    return module(inputs_embeds=embeddings * 1, position_ids=positions, use_cache=False).last_hidden_state


def run_tower(module: Qwen2_5_VLGazeVisionTransformer, grid: tuple[int, int], with_map: bool = True) -> Tensor:
    """One image through the tower; what lies before gaze without gradients, as in training."""
    device, colours = next(module.parameters()).device, 3 * module.config.saliency_width
    width = colours + module.config.saliency_width * with_map
    pixels = torch.zeros(grid[0] * grid[1], width, device=device, dtype=module.dtype)
    return module(pixels, torch.tensor([[1, *grid]])).pooler_output


def trained(module: Qwen2_5_VLGazeVisionTransformer, rank: int = 16) -> Qwen2_5_VLGazeVisionTransformer:
    """As stage 1 trains the tower: calibrators in full, LoRA on the MLP of block 28 and on all that follows."""
    first = module.config.first_trained_block
    targets = [f"blocks.{first}.mlp.{name}_proj" for name in ("gate", "up", "down")]
    for i in range(first + 1, module.config.depth):
        targets += [f"blocks.{i}.{name}" for name in ("attn.qkv", "attn.proj")]
        targets += [f"blocks.{i}.mlp.{name}_proj" for name in ("gate", "up", "down")]
    module.requires_grad_(False)
    with next(module.parameters()).device:
        inject_adapter_in_model(LoraConfig(r=rank, target_modules=targets), module)
    module.blocks[first].calibrator.requires_grad_(True)
    return module.train()


class _Storages(TorchDispatchMode):
    """Notes the memory that each operation fills; what a block makes again is no part of autograd's own books."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.found[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return made


def kept(module: torch.nn.Module, run: Callable[[], Any]) -> int:
    """Bytes that a forward run leaves behind for the backward run, its result among them; on the CPU."""
    weights = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    with _Storages() as storages:
        result = run()
    left = [size for place, (held, size) in storages.found.items() if place not in weights and not held.expired()]
    del result
    return sum(left)


def flops(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()
