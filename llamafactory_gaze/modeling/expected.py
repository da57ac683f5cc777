"""What the model builds upon in transformers beyond its documented classes; looked up before anything else here.

Where transformers has changed under us, the import of the model stops with a sentence that names what is missing.
"""

from importlib.metadata import version

from llamafactory_gaze.versions import TESTED, has


QWEN = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
# Module, and its names; methods that we override or call stand with the parameters that we count on.
EXPECTED = {
    "transformers.conversion_mapping": (
        "get_checkpoint_conversion_mapping",
        "register_checkpoint_conversion_mapping",
    ),
    "transformers.image_transforms": ("to_pil_image",),
    "transformers.image_utils": ("load_image",),
    "transformers.initialization": ("zeros_",),
    "transformers.integrations": ("is_deepspeed_zero3_enabled",),
    "transformers.modeling_outputs": ("BaseModelOutputWithPooling",),
    "transformers.modeling_utils": ("ALL_ATTENTION_FUNCTIONS.get_interface", "PreTrainedModel._from_config"),
    "transformers.models.auto.configuration_auto": ("CONFIG_MAPPING._mapping", "CONFIG_MAPPING._modules"),
    "transformers.models.auto.processing_auto": ("PROCESSOR_MAPPING._extra_content",),
    "transformers.models.qwen2_5_vl.configuration_qwen2_5_vl": (
        "Qwen2_5_VLConfig._attn_implementation",
        "Qwen2_5_VLVisionConfig.__post_init__",
    ),
    QWEN: (
        "Qwen2_5_VLForConditionalGeneration._expand_inputs_for_generation",
        "Qwen2_5_VLForConditionalGeneration._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)",
        "Qwen2_5_VLModel.compute_3d_position_ids(input_ids)",
        "Qwen2_5_VLModel.get_rope_index(input_ids, mm_token_type_ids, image_grid_thw)",
        "Qwen2_5_VLPreTrainedModel._init_weights(module)",
        "Qwen2_5_VLPreTrainedModel._no_split_modules",
        "Qwen2_5_VLMLP.forward(hidden_state)",
        "Qwen2_5_VLRMSNorm.forward(hidden_states)",
        "Qwen2_5_VLTextModel",
        "Qwen2_5_VLVisionAttention.forward(hidden_states, cu_seqlens, rotary_pos_emb, position_embeddings)",
        "Qwen2_5_VLVisionBlock.forward(hidden_states, cu_seqlens, rotary_pos_emb, position_embeddings)",
        "Qwen2_5_VisionPatchEmbed.forward(hidden_states)",
        "Qwen2_5_VisionTransformerPretrainedModel.forward(hidden_states, grid_thw)",
        "Qwen2_5_VisionTransformerPretrainedModel.get_window_index(grid_thw)",
        "Qwen2_5_VisionTransformerPretrainedModel.rot_pos_emb(grid_thw)",
        "apply_rotary_pos_emb_vision",
        "eager_attention_forward",
    ),
    "transformers.utils.generic": ("is_flash_attention_requested", "merge_with_config_defaults"),
    "transformers.utils.output_capturing": ("capture_outputs",),
}


def check_transformers() -> None:
    """Raises RuntimeError, naming all that transformers lacks, its version and the tested ones."""
    missing = [f"{module}.{name}" for module, names in EXPECTED.items() for name in names if not has(module, name)]
    if missing:
        raise RuntimeError(
            f"llamafactory-gaze expects {', '.join(missing)}, as in transformers {TESTED['transformers']}; version "
            f"{version('transformers')} does not have it. Install transformers{TESTED['transformers']}."
        )


check_transformers()
