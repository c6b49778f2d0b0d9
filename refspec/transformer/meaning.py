"""What the keys of a `config.json` mean that refspec does not compute with: which of them may say what without changing a logit.

A file holds the mathematics (config.py reads it), how text is drawn (generation_config.json's business, which older files
repeat), and bookkeeping. Libraries write hundreds of the last two, and files also carry features of other architectures at the
value that switches them off. Whatever is none of these might be mathematics, and is refused.
"""

from typing import Any

# How text is drawn and ended, by transformers' GenerationConfig and by the configurations of transformers 2 to 4.
GENERATION = frozenset(
    """assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind bad_words_ids
    begin_suppress_tokens cache_config cache_implementation compile_config constraints continuous_batching_config
    disable_compile diversity_penalty do_sample dola_layers early_stopping encoder_no_repeat_ngram_size
    encoder_repetition_penalty epsilon_cutoff eta_cutoff exponential_decay_length_penalty force_words_ids
    forced_decoder_ids generation_kwargs guidance_scale is_assistant length_penalty low_memory max_cache_len max_length
    max_matching_ngram_size max_new_tokens max_time min_length min_new_tokens min_p no_repeat_ngram_size
    num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams num_return_sequences output_logits
    output_scores penalty_alpha prefill_chunk_size prefix prompt_lookup_num_tokens remove_invalid_values
    renormalize_logits repetition_penalty return_dict_in_generate return_legacy_cache sequence_bias speculation_type
    stop_strings suppress_tokens target_lookbehind temperature token_healing top_h top_k top_p typical_p use_cache
    watermarking_config""".split()
)
# Names and versions, training, other heads than that of the next token, what a call returns, and how (not what) it computes.
BOOKKEEPING = frozenset(
    """_attn_implementation _attn_implementation_autoset _attn_implementation_internal _comment _commit_hash
    _experts_implementation _experts_implementation_internal _flash_attn_2_enabled _from_auto _from_model_config
    _from_pipeline _name_or_path _num_labels _output_attentions attention_dropout attention_softmax_in_fp32
    attn_implementation attn_pdrop chunk_size_feed_forward dropout dtype embd_pdrop finetuning_task
    gradient_checkpointing id2label inference_runner initializer_factor initializer_range is_decoder is_llama_config
    label2id max_batch_size max_sequence_length max_window_layers model_max_length model_type n_ctx n_special name_or_path
    neftune_noise_alpha num_labels output_attentions output_hidden_states output_past pad_key_length
    pre_allocate_kv_cache predict_special_tokens pretraining_tp problem_type reorder_and_upcast_attn resid_pdrop return_dict
    return_dict_in_generate runner_max_sequence_length scale_attention_softmax_in_fp32 summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj task_specific_params tf_legacy_loss
    tokenizer_class tokenizer_name torch_dtype torchscript transformers.js_config use_bfloat16 use_flash_attention
    use_flash_attention_2 use_flash_attn validate_runner_input xla_device""".split()
)
# Whole kinds of keys: the vocabulary's special tokens, noise in training, versions, and a trainer's marks.
ENDINGS = ("_dropout", "_token_id", "_token_ids", "_version")
BEGINNINGS = ("unsloth_", "_unsloth_")

# Features of other architectures, at the value at which they are not there. null says so for any.
NEUTRAL: dict[str, Any] = {
    "add_cross_attention": False,
    "attention_factor": 1.0,
    "auto_map": {},
    "embedding_multiplier": 1.0,
    "is_causal": True,
    "is_encoder_decoder": False,
    "load_in_4bit": False,
    "load_in_8bit": False,
    "logits_scaling": 1.0,
    "mlp_bias": False,
    "mlp_only_layers": [],
    "num_experts": 0,
    "num_local_experts": 0,
    "partial_rotary_factor": 1.0,
    "pruned_heads": {},
    "qk_layer_norms": False,
    "quantization": {},
    "quantization_config": {},
    "residual_multiplier": 1.0,
    "rope_interleaved": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "tie_encoder_decoder": False,
    "use_mrope": False,
    "use_sliding_window": False,
}
# Keys that are read only where another one is on, and mean nothing where that says that it is off.
WINDOW, EXPERTS = ("use_sliding_window",), ("num_experts", "num_local_experts")
READ_WITH = {
    "sliding_window": WINDOW,
    "decoder_sparse_step": EXPERTS,
    "moe_intermediate_size": EXPERTS,
    "norm_topk_prob": EXPERTS,
    "num_experts_per_tok": EXPERTS,
    "output_router_logits": EXPERTS,
    "router_aux_loss_coef": EXPERTS,
    "router_jitter_noise": EXPERTS,
}


def changes_nothing(key: str, given: dict[str, Any]) -> bool:
    """Whether the configuration `given` would have the same logits without `key`, for all that is known.

    >>> from refspec.transformer.meaning import changes_nothing
    >>> changes_nothing("num_experts", {"num_experts": 0}), changes_nothing("num_experts", {"num_experts": 8})
    (True, False)
    """
    value = given[key]
    return (
        value is None
        or key in GENERATION | BOOKKEEPING
        or key.endswith(ENDINGS)
        or key.startswith(BEGINNINGS)
        or (key in NEUTRAL and equal(value, NEUTRAL[key]))
        or any(switch in given and equal(given[switch], NEUTRAL[switch]) for switch in READ_WITH.get(key, ()))
    )


def equal(a: Any, b: Any) -> bool:
    """As JSON has it: 1 and 1.0 are one number, and true is none.

    >>> from refspec.transformer.meaning import equal
    >>> equal(1, 1.0), equal(1, True)
    (True, False)
    """
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
