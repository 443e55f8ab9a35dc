"""Which words of TRL, axolotl, LLaMA-Factory, bbml and mindprint say the same as an option of bp-train.

    NAMES["learning_rate"]      # the keys that only have another name
    TABLES["lora"]["rank"]      # lora_r: the keys inside a table, as if they stood outside

Looked up in TRL 1.16 and transformers 5.23 (their dataclasses), axolotl's src/axolotl/utils/schemas,
LLaMA-Factory's src/llamafactory/hparams, bbml's TrainerConfig, and mindprint's configs/.
"""

from __future__ import annotations


def _table(names: dict[str, str]) -> dict[str, str]:
    return {key: slot for slot, keys in names.items() for key in keys.split()}


# key -> option: another name for the same thing with the same values
NAMES: dict[str, str] = _table(
    {
        "model": "model_name_or_path base_model",
        "revision": "model_revision revision_of_model",
        "tokenizer": "tokenizer_config tokenizer_name tokenizer_name_or_path",
        "beta": "pref_beta rl_beta dpo_beta orpo_alpha lambda_orpo",
        "rank": "lora_r lora_rank",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "neftune": "neftune_noise_alpha noisy_embedding_alpha",
        "max_records": "max_samples",
        "learning_rate": "lr",
        "embedding_learning_rate": "embedding_lr",
        "epochs": "num_train_epochs num_epochs train_epochs",
        "max_grad_norm": "grad_clip_norm grad_clip",
        "early_stopping": "early_stopping_patience early_stopping_steps",
        "max_length": "max_seq_length sequence_len cutoff_len",
        "output": "output_dir",
    }
)

# key -> option that is on or off
SWITCHES: dict[str, str] = _table(
    {
        "rslora": "use_rslora peft_use_rslora",
        "dora": "use_dora peft_use_dora",
        "packing": "sample_packing",
        "precompute_reference": "precompute_ref_log_probs",
        "keep_best": "load_best_model_at_end",
        "deterministic": "full_determinism",
        "checkpointing": "activation_checkpointing",
    }
)

# table -> {key inside: key outside}; a value of "" is known and not used
_PHASE = {
    "epochs_per_topic": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "steps_per_topic": "max_steps",
    "max_steps": "max_steps",
    "learning_rate": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "per_device_batch_size": "per_device_train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "warmup_ratio": "warmup_ratio",
    "gradient_checkpointing": "gradient_checkpointing",
    "beta": "beta",
    "lambda_orpo": "beta",
    "ref_model_strategy": "ref_model_strategy",
    "max_length": "max_length",
    "max_seq_length": "max_length",
    "max_prompt_length": "",
    "lora_rank": "lora_r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "target_modules": "lora_target_modules",
}
PHASES = ("sft", "dpo", "orpo")  # of mindprint: a table each, of which one is trained
_OPTIMIZER = {
    "name": "optim",
    "type": "optim",
    "lr": "learning_rate",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "betas": "",
    "eps": "",
}
_SCHEDULER = {
    "name": "lr_scheduler_type",
    "type": "lr_scheduler_type",
    "warmup_steps": "warmup_steps",
    "warmup_ratio": "warmup_ratio",
    "num_warmup_steps": "warmup_steps",
}
TABLES: dict[str, dict[str, str]] = {
    "backend": {"type": "backend_type", "device": "device", "dtype": "dtype", "seed": "seed"},
    "model": {
        "name": "model_name_or_path",
        "device": "device",
        "dtype": "dtype",
        "revision": "model_revision",
    },
    "lora": {
        "rank": "lora_r",
        "r": "lora_r",
        "alpha": "lora_alpha",
        "lora_alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "lora_dropout": "lora_dropout",
        "target_modules": "lora_target_modules",
        "use_rslora": "use_rslora",
        "use_dora": "use_dora",
        "modules_to_save": "lora_modules_to_save",
        "bias": "",
        "task_type": "",
    },
    "optimizer": _OPTIMIZER,
    "scheduler": _SCHEDULER,
    "lr_scheduler": _SCHEDULER,
    "peft": {"backend": "", "weight_dtype": "weight_dtype", "group_size": "", "loftq_config": ""},
    "trl": {"beta": "rl_beta", "*": ""},
    "dataset_mixture": {"datasets": "datasets", "test_split_size": "test_split_size", "*": ""},
    "paths": {"output_dir": "output_dir", "*": ""},
    **dict.fromkeys(PHASES, _PHASE),
}

# known, true here as well, or about nothing that needs saying
_SILENT = """
do_train do_eval do_predict overwrite_cache model_type tokenizer_type tokenizer_use_fast
use_fast_tokenizer save_safetensors remove_unused_columns auto_resume_from_checkpoints is_preprocess
dataset_dir dataset_config dataset_train_split lora_task_type double_quantization use_bnb_nested_quant
disable_tqdm strict local_rank low_cpu_mem_usage average_tokens_across_devices
"""
SILENT = frozenset(_SILENT.split())

# known, and without a meaning here; shell patterns
_UNUSED = """
accelerator_* activation_checkpointing_kwargs activation_offloading adam_* adapter_folder
add_special_tokens add_tokens added_tokens_overrides additional_special_tokens amsgrad apollo_* attention
attn_implementation audio_* auto_find_batch_size axolotl_config_path badam_* base_model_config
base_model_ignore_patterns batch_eval_metrics batch_flattening bench_* bf16_full_eval
bnb_4bit_quant_storage bnb_config_kwargs buffer_size cache_dir chat_template_kwargs checkpoint_dir
checkpointing_format cls_model_config columns comet_* compute_accuracy context_parallel_size conversation
cosine_* cpo_alpha create_new_adapter crop_to_patches curriculum_sampling cut_cross_entropy data_dir
data_seed data_shared_file_system dataloader_* dataset_exact_* dataset_keep_in_memory dataset_kwargs
dataset_num_proc dataset_prepared_path dataset_processes dataset_shard_* dataset_streaming
dataset_test_split ddp ddp_* debug deepspeed default_system default_system_message desirable_weight
device_map disable_dropout disable_shuffling discopop_tau do_bench_eval do_causal_lm_eval do_sample
dpo_generate_during_eval dpo_label_smoothing dpo_norm_loss dpo_use_* drop_last_train eager_attention
early_stopping_threshold embedding_lr_scale embeddings_skip_upcast enable_jit_checkpoint
enable_liger_kernel enable_thinking env eos_token eot_tokens eval_accumulation_steps eval_batch_size
eval_casual_lm_metrics eval_causal_lm_metrics eval_delay eval_do_concat_batches eval_max_new_tokens
eval_num_beams eval_on_each_dataset eval_on_start eval_packing eval_per_epoch eval_sample_packing
eval_sequence_len eval_table_size eval_use_gather_object evals_per_epoch evaluation experimental_*
export_* f_alpha_divergence_coef f_divergence_type fix_untrained_tokens flash_* flex_* fp16_full_eval fp8
fp8_* freeze_* fsdp fsdp_* galore_* gc_steps generate_during_eval generate_samples generation_*
generation_max_length generation_num_beams gpu_memory_limit gradient_checkpointing_kwargs gradio_*
greater_is_better group_by_length half_precision_backend heads_k_stride hf_* hub_* ignore_bias_buffers
ignore_data_skip ignore_pad_token_for_loss image_* include_* infer_backend infer_dtype init_special_tokens
interleave_probs is_*_derived_model is_encoder_decoder jagged_restart_steps kto_chosen_weight
kto_desirable_weight kto_rejected_weight kto_undesirable_weight label_names label_smoothing
label_smoothing_factor lambda_* ld_alpha length_column_name length_penalty liger_* lisa_*
llama4_linearized_experts llmcompressor load_from_cache_file log_level log_level_replica log_on_each_node
logging logging_* lora_*_kernel lora_fan_in_fan_out lora_on_cpu loraplus_* loss_watchdog_* loss_weights
lr_div_factor lr_groups lr_quadratic_warmup lr_scheduler_kwargs max_completion_length max_memory
max_new_tokens max_prompt_len max_prompt_length max_retries_per_topic mean_resizing_embeddings media_dir
merge_after_unit merge_lora merge_method metric_for_best_model metrics min_sample_len mix_strategy
mlflow_* model_init_kwargs model_kwargs model_quantization_* module_dropout moe_aux_loss_coef ms_hub_token
multipack_* name_suffix new_special_tokens_config num_beams num_generation_samples num_labels
num_test_samples num_validation_samples offload_folder oft_* om_hub_token optim_args optim_kwargs
optim_target_modules overrides_of_model_* overwrite_output_dir packing_strategy pad_to_multiple_of
pad_to_sequence_len pad_token padding_free padding_value parallelism parallelism_config param_group_rules
peft_autocast_adapter_dtype peft_ensure_weight_tying peft_init_lora_weights peft_layer_replication
peft_trainable_token_indices per_device_eval_batch_size pipeline pissa_convert pissa_iter plot_loss
plugins pose_* ppo_* precompute_ref_batch_size predict_with_generate prediction_loss_only pref_bco_weight
preprocess_iterable preprocessing_* pretrain_multipack_* pretraining_sample_concatenation
print_param_status processor_type profiler_steps project push_dataset_to_hub push_to_hub qat
qlora_sharded_model_loading quantization quantization_device_map ray_* ref_model_adapters
ref_model_mixup_alpha ref_model_quantization_bit ref_model_sync_steps relora_* repetition_penalty
resize_token_embeddings_to_32x resize_vocab resources_per_worker restore_callback_states_from_checkpoint
reward_model_* ring_attn_func rope_scaling router_aux_loss_coef rpo_alpha run_name s2_attention
sample_generation sample_packing_* sampling save_first_step save_on_each_node save_only_model
saves_per_epoch sdp_attention sequence_parallel_degree shift_attn shrink_embeddings
shuffle_before_merging_datasets shuffle_dataset shuffle_merged_datasets simpo_gamma skip_memory_metrics
skip_prepare_dataset skip_special_tokens special_tokens split_special_tokens step streaming
streaming_multipack_buffer_size swanlab_* sync_ref_model temperature test_step_trigger tf32 thresholds
tokenized_path tokenizer_legacy tokenizer_save_jinja_files tokenizer_use_mistral_common tokens tool_format
top_k top_p torch_compile torch_compile_* torch_empty_cache_steps torchdistx_path total_num_tokens
total_supervised_tokens trackio_* train_sampling_strategy truncation_mode undesirable_weight unsloth_*
upcast_* use_adam_mini use_audio_in_video use_cache use_comet use_kernels use_kv_cache use_liger_kernel
use_mca use_muon use_ray use_reentrant_gc use_swanlab use_unsloth use_unsloth_gc use_v1_kernels
use_weighting val_step_trigger video_* vllm vllm_* wandb_* warmup_kwargs world_size xformers_attention
xpu_backend
"""
UNUSED = tuple(_UNUSED.split())

# what would train something else than the file means: refused when it is set
REFUSED: dict[str, str] = {
    "use_galore": "bp-train has no GaLore",
    "use_apollo": "bp-train has no APOLLO",
    "use_badam": "bp-train has no BAdam",
    "use_llama_pro": "bp-train adds no blocks",
    "use_dft_loss": "bp-train has no DFT loss",
    "use_asft_loss": "bp-train has no ASFT loss",
    "use_eaft_loss": "bp-train has no EAFT loss",
    "pref_ftx": "bp-train adds no SFT loss to that of dpo",
    "kd_trainer": "bp-train does not distil",
    "lora_layers_to_transform": "write targets as a regular expression",
    "max_packed_sequence_len": "write max_length and packing",
    "pissa_init": "bp-train has no PiSSA",
    "mixture_of_depths": "bp-train has no mixture of depths",
    "train_from_scratch": "write method: pretrain and a model_config",
    "mask_history": "bp-train learns every answer of a conversation",
    "reward_model": "bp-train trains no reward models",
    "process_reward_model": "bp-train trains no reward models",
    "relora": "bp-train has no ReLoRA",
    "gptq": "bp-train trains on no GPTQ weights",
    "lora_target_parameters": "bp-train adapts modules; write lora_target_modules",
    "peft_layers_to_transform": "write targets as a regular expression",
    "peft_layers_pattern": "write targets as a regular expression",
    "load_path": "write adapter, or a model folder",
    "use_pose": "bp-train has no PoSE",
}

_OTHER_TEMPLATES = """
default empty qwen qwen2 qwen3 qwen3_nothink qwen_25 qwen2_vl qwen3_5 llama2 llama2_nosys llama4
mistral_v1 mistral_v2v3 mistral_v3_tekken mistral_v7_tekken mistral_small phi phi3 phi4 phi_3 phi_35 phi_4
deepseek deepseek3 deepseekr1 deepseek_v2 deepseek_v3 cohere jamba exaone metharme pixtral llava gemma3n
gemma4 llama3_2_vision vicuna yi baichuan2 chatglm3 glm4 internlm2 falcon openchat orion inst aya
command_a
"""
# templates that a file may name: ours, or None for the model's own and a word about it
TEMPLATES: dict[str, str | None] = {
    **{name: name for name in ("chatml", "alpaca", "llama3", "mistral", "gemma", "zephyr")},
    "gemma2": "gemma",
    "gemma3": "gemma",
    "tokenizer_default": "auto",
    **dict.fromkeys(_OTHER_TEMPLATES.split()),
}

OPTIMIZERS: dict[str, str] = {
    "adamw": "adamw_torch",
    "torch.optim.adamw": "adamw_torch",
    "adamw8bit": "adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
SCHEDULES: dict[str, str] = {
    "constantlr": "constant",
    "cosineannealinglr": "cosine",
    "linearlr": "linear",
}
