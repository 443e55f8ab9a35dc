"""bptools: the coreutils of LLM fine-tuning. `cat raw.jsonl | bp-chatml > clean.jsonl`."""

__version__ = "0.1.0"
