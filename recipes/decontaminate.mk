# Training records without what evaluation sets ask; what was taken out says which question it copies.
#
#   make -s -f decontaminate.mk
#   make -s -f decontaminate.mk ON=user     other answers to the same questions go as well
#
# It says nothing unless something fails. What a step said is in TARGET.log.
#
#   raw/                yours: what is to be trained on, in any format that bp-chatml(1) reads
#   eval/               yours: the evaluation sets, also in any format; names without white space
#   clean.jsonl         what may be trained on
#   contaminated.jsonl  what copies a record of eval/: bp.dup_at is its file and line, bp.jaccard how like it is
#   report.json         the counts; under duplicates.of.against how many

RAW         ?= raw
EVAL        ?= eval
MAX_REJECTS ?= 0
# What is compared: all of a record, or user for its questions alone.
ON          ?= all
# From which similarity on, of runs of so many words: less finds more, and more that is none.
THRESHOLD   ?= 0.7
NGRAM       ?= 5

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
export BP_QUIET  := 1
export BP_LEDGER := .ledger

# What a step says is kept in a log and shown only if it fails. A target is written beside its place, and moved there
# when the whole pipe has succeeded: make removes what a failed step left, but not what a make left that was killed
# itself. The number of the shell keeps two of them apart.
begin = rm -f $@.*.part; part=$@.$$$$.part; exec 3>&2 2> $@.log; \
        trap 'code=$$?; rm -f "$$part"; [ $$code = 0 ] || cat $@.log >&3' EXIT
end   = mv "$$part" $@

FILES := $(shell find $(RAW) $(EVAL) -type f ! -name '.*' | LC_ALL=C sort)
# Options are inputs, too: files that are written anew only when the options change.
CLEAN_WITH := $(FILES) $(RAW) $(EVAL) $(MAX_REJECTS) $(ON) $(THRESHOLD) $(NGRAM)
ifneq ($(file <.clean.options),$(CLEAN_WITH))
$(file >.clean.options,$(CLEAN_WITH))
endif

.PHONY: all
all: contaminated.jsonl

# Copies within raw/ are dropped, too: they are in dropped.jsonl, without bp.dup_in.
clean.jsonl: $(FILES) .clean.options
	@$(begin); \
	bp-chatml $(RAW) --max-rejects $(MAX_REJECTS) --rejects rejects.jsonl \
	  | bp-dedup --minhash --on $(ON) --threshold $(THRESHOLD) --ngram $(NGRAM) --against $(EVAL) \
	      --dropped dropped.jsonl --report report.json > "$$part"; \
	$(end)

contaminated.jsonl: clean.jsonl
	@$(begin); \
	bp-filter --where bp.dup_in=against dropped.jsonl > "$$part"; \
	$(end)
