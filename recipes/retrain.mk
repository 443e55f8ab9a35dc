# Raw chats in raw/ -> clean records -> an adapter -> a check; only what changed is done again.
#
#   make -s -f retrain.mk                                     nano: any machine, a minute
#   make -s -f retrain.mk PRESET=qwen3b CHECK='match>=.6'     a real model, and what it must reach
#   BP_LEDGER=.ledger bptools trace "$(cat bot)"              where the adapter comes from
#
# It says nothing unless something fails. A run that was killed, at whatever moment, is gone on with by the same
# line, and gives the same records, weights and metrics. What a step said is in TARGET.log.
#
#   raw/           yours: chats in any format that bp-chatml(1) reads; names without white space
#   clean.jsonl    what is trained on; rejects.jsonl the lines that are no records
#   runs/          the trainings; the file bot holds the path of the newest adapter
#   answers.jsonl  what it says to records that were held out, and whether that matches

PRESET      ?= nano
RAW         ?= raw
# Lines that are no records are kept in rejects.jsonl; with more of them than this, nothing is made.
MAX_REJECTS ?= 1%
# With --against eval/ what an evaluation set asks is left out, too.
DEDUP       ?= bp-dedup --minhash
# Scores are kept in .scores, so that next week only what is new is scored. PPL=cat leaves this step out.
PPL         ?= bp-ppl --keep 5:95 --cache .scores
# How much is held out: a share, or with 50 every tenth record until there are so many.
HOLD_OUT    ?= 2%
# More options of bp-train, as in TRAIN='--epochs 2 --rank 32'.
TRAIN       ?=
# How many of the records held out are answered, how answers are compared, and the share that must match.
ANSWERS     ?= 50
SCORE       ?= contains
CHECK       ?= match>=0

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

FILES := $(shell find $(RAW) -type f ! -name '.*' | LC_ALL=C sort)
# Options are inputs, too: files that are written anew only when the options change.
CLEAN_WITH := $(FILES) $(MAX_REJECTS) $(DEDUP) $(PPL)
TRAIN_WITH := $(PRESET) $(HOLD_OUT) $(TRAIN)
CHECK_WITH := $(ANSWERS) $(SCORE) $(CHECK)
ifneq ($(file <.clean.options),$(CLEAN_WITH))
$(file >.clean.options,$(CLEAN_WITH))
endif
ifneq ($(file <.train.options),$(TRAIN_WITH))
$(file >.train.options,$(TRAIN_WITH))
endif
ifneq ($(file <.check.options),$(CHECK_WITH))
$(file >.check.options,$(CHECK_WITH))
endif

# A run that was pruned is made again.
$(foreach made,bot,$(if $(file <$(made)),$(if $(wildcard $(file <$(made))),,$(shell rm -f $(made)))))

.PHONY: all
all: answers.jsonl

clean.jsonl: $(FILES) .clean.options
	@$(begin); \
	bp-chatml $(RAW) --to chat --max-rejects $(MAX_REJECTS) --rejects rejects.jsonl | $(DEDUP) | $(PPL) > "$$part"; \
	$(end)

# bp-train knows finished work by its records and settings, and unfinished work, with which it goes on.
bot: clean.jsonl .train.options
	@$(begin); \
	bp-train clean.jsonl --preset $(PRESET) --eval-split $(HOLD_OUT) $(TRAIN) --wait 1h > "$$part"; \
	$(end)

# What a run did not learn from is in its eval.jsonl.
answers.jsonl: bot .check.options
	@$(begin); adapter=$$(cat bot); held_out=$${adapter%/*}/eval.jsonl; \
	[ -s "$$held_out" ] || { echo 'retrain: no record was held out to be answered; raise HOLD_OUT' >&2; exit 65; }; \
	bp-generate --adapter "$$adapter" --limit $(ANSWERS) --score $(SCORE) --check '$(CHECK)' "$$held_out" > "$$part"; \
	$(end)
