# One topic after the other: SFT on each, and DPO only where the answers fall short of the goal.
#
#   make -s -f curriculum.mk
#   make -s -f curriculum.mk TOPICS='letters words sentences' GOAL=.8 PRESET=qwen1.5b
#
# Every topic goes on with the adapter of the one before. Where too few of the records that were held out are answered
# rightly, the model's own wrong answers to what it was trained on become the rejected ones, and DPO follows. It says
# nothing unless something fails, and a run that was killed is gone on with by the same line. Needs jq.
#
#   raw/           yours: chats in any format that bp-chatml(1) reads, with a field that names the topic
#   topics/        the chats of each topic; without TOPICS they are taken in the order of their names
#   course/        for each topic: T.sft and T.bot, paths of adapters, and T.score.json of the last one
#   scores.tsv     topic, right answers, answers, sft or dpo
#   runs/          the trainings; the file bot holds the path of the last adapter

PRESET   ?= nano
RAW      ?= raw
FIELD    ?= topic
# The share of answers that must match, and how they are compared.
GOAL     ?= .7
SCORE    ?= contains
# How much of a topic is held out: a share, or with 50 every tenth record until there are so many.
HOLD_OUT ?= 50
# How many records of a topic are answered to find wrong answers.
ASK      ?= 500
# More options of bp-train for either phase.
SFT      ?=
DPO      ?= --beta 0.1

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
TOPICS_WITH := $(FILES) $(FIELD)
SFT_WITH := $(PRESET) $(HOLD_OUT) $(SFT)
DPO_WITH := $(GOAL) $(SCORE) $(ASK) $(DPO)
ifneq ($(file <.topics.options),$(TOPICS_WITH))
$(file >.topics.options,$(TOPICS_WITH))
endif
ifneq ($(file <.sft.options),$(SFT_WITH))
$(file >.sft.options,$(SFT_WITH))
endif
ifneq ($(file <.dpo.options),$(DPO_WITH))
$(file >.dpo.options,$(DPO_WITH))
endif

# The topics are known when the records are split: a second make goes on from there.
.PHONY: all course
THIS := $(lastword $(MAKEFILE_LIST))
all: topics/.split
	@$(MAKE) --no-print-directory -f $(THIS) course

# A file of a topic is replaced only when it changed, so that the others need not be learnt again.
topics/.split: $(FILES) .topics.options
	@mkdir -p topics course; $(begin); rm -rf .topics; \
	bp-chatml $(RAW) --to chat | bp-dedup | bp-filter --split-by $(FIELD) --out-dir .topics; \
	for old in topics/*.jsonl; do [ -e ".$$old" ] || rm -f "$$old"; done; \
	for new in .topics/*.jsonl; do cmp -s "$$new" "$${new#.}" || mv "$$new" "$${new#.}"; done; \
	rm -rf .topics; touch "$$part"; \
	$(end)

TOPICS ?= $(basename $(notdir $(sort $(wildcard topics/*.jsonl))))
SFTS   := $(TOPICS:%=course/%.sft)
BOTS   := $(TOPICS:%=course/%.bot)

# A run that was pruned is made again.
$(foreach made,$(SFTS) $(BOTS),$(if $(file <$(made)),$(if $(wildcard $(file <$(made))),,$(shell rm -f $(made)))))

# BEFORE is the file with the path of the adapter that a topic goes on with: none for the first.
before :=
$(foreach topic,$(TOPICS),\
  $(eval course/$(topic).sft: $(before))\
  $(eval course/$(topic).sft: private BEFORE := $(before))\
  $(eval before := course/$(topic).bot))

course: bot scores.tsv

$(SFTS): course/%.sft: topics/%.jsonl .sft.options
	@$(begin); \
	bp-train $< --preset $(PRESET) --method sft $(if $(BEFORE),--adapter "$$(cat $(BEFORE))") --eval-split $(HOLD_OUT) \
	  $(SFT) --wait 1h > "$$part"; \
	$(end)

# A run keeps what it learnt from in records.jsonl and what it held out in eval.jsonl. --check ends with 1 when too few
# answers match; every other status is a failure.
score = bp-generate --adapter "$$adapter" --score $(SCORE) --check 'match>=$(GOAL)' \
          --report course/$*.score.json "$$run/eval.jsonl" > /dev/null

pairs = select(.bp.match == false) | {prompt: .messages[:-1], rejected: [.messages[-1]], \
          chosen: [{role: "assistant", content: .reference}]}

$(BOTS): course/%.bot: course/%.sft .dpo.options
	@$(begin); adapter=$$(cat $<); run=$${adapter%/*}; pairs=course/$*.pairs.jsonl; \
	[ -s "$$run/eval.jsonl" ] || { echo "curriculum: nothing of '$*' was held out; raise HOLD_OUT" >&2; exit 65; }; \
	reached=0; $(score) || reached=$$?; [ $$reached -le 1 ]; \
	if [ $$reached = 1 ]; then \
	  jq -nc 'limit($(ASK); inputs) | .reference = .messages[-1].content' "$$run/records.jsonl" \
	  | bp-generate --adapter "$$adapter" --score $(SCORE) \
	  | jq -c '$(pairs)' > "$$part"; \
	  mv "$$part" $$pairs; \
	  if [ -s $$pairs ]; then \
	    adapter=$$(bp-train $$pairs --preset $(PRESET) --method dpo --adapter "$$adapter" --eval-split 0 $(DPO) \
	      --wait 1h); \
	    $(score) || [ $$? = 1 ]; \
	  fi; \
	fi; \
	echo "$$adapter" > "$$part"; \
	$(end)

bot: $(BOTS)
	@cp $(lastword $(BOTS)) $@.$$$$.part; mv $@.$$$$.part $@

scores.tsv: $(BOTS)
	@$(begin); \
	for topic in $(TOPICS); do \
	  how=sft; cmp -s course/$$topic.sft course/$$topic.bot || how=dpo; \
	  jq -r --arg topic $$topic --arg how $$how '[$$topic, .match[][], $$how] | @tsv' course/$$topic.score.json; \
	done > "$$part"; \
	$(end)
