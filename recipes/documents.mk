# A folder of text, then chats: continued pre-training and instruction tuning of one adapter.
#
#   make -s -f documents.mk
#   make -s -f documents.mk PRESET=qwen3b READ='--epochs 3'
#
# It says nothing unless something fails, and a run that was killed is gone on with by the same line.
# What a step said is in TARGET.log.
#
#   docs/          yours: text and Markdown; names without white space
#   chats/         yours: chats in any format that bp-chatml(1) reads
#   runs/          the trainings; the file reader holds the path of the adapter that has read docs/, bot that of the
#                  same one after it has learnt to answer
#   answers.jsonl  what the model alone and bot say to chats that were held out, in bp.completions

PRESET   ?= nano
DOCS     ?= docs
CHATS    ?= chats
# The text is cut into pieces of this size; fenced code is never cut by paragraphs.
CHUNK    ?= 512tokens
# More options of bp-train for either phase. Words that the model does not know yet want the vocabulary trained, too:
# READ='--modules-to-save embed_tokens --modules-to-save lm_head'.
READ     ?=
ANSWER   ?=
# How much of either set is held out: a share, or with 50 every tenth record until there are so many.
HOLD_OUT ?= 2%
ANSWERS  ?= 20

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

DOC_FILES  := $(shell find $(DOCS) -type f ! -name '.*' | LC_ALL=C sort)
CHAT_FILES := $(shell find $(CHATS) -type f ! -name '.*' | LC_ALL=C sort)
# Options are inputs, too: files that are written anew only when the options change.
PIECES_WITH := $(DOC_FILES) $(CHUNK)
CHATS_WITH := $(CHAT_FILES)
READ_WITH := $(PRESET) $(HOLD_OUT) $(READ)
ANSWER_WITH := $(HOLD_OUT) $(ANSWER)
ifneq ($(file <.pieces.options),$(PIECES_WITH))
$(file >.pieces.options,$(PIECES_WITH))
endif
ifneq ($(file <.chats.options),$(CHATS_WITH))
$(file >.chats.options,$(CHATS_WITH))
endif
ifneq ($(file <.read.options),$(READ_WITH))
$(file >.read.options,$(READ_WITH))
endif
ifneq ($(file <.answer.options),$(ANSWER_WITH))
$(file >.answer.options,$(ANSWER_WITH))
endif

# A run that was pruned is made again.
$(foreach made,reader bot,$(if $(file <$(made)),$(if $(wildcard $(file <$(made))),,$(shell rm -f $(made)))))

.PHONY: all
all: answers.jsonl

pieces.jsonl: $(DOC_FILES) .pieces.options
	@$(begin); \
	bp-chatml $(DOCS) --chunk $(CHUNK) --to text | bp-dedup --minhash > "$$part"; \
	$(end)

chats.jsonl: $(CHAT_FILES) .chats.options
	@$(begin); \
	bp-chatml $(CHATS) --to chat | bp-dedup --minhash > "$$part"; \
	$(end)

reader: pieces.jsonl .read.options
	@$(begin); \
	bp-train pieces.jsonl --preset $(PRESET) --method cpt --eval-split $(HOLD_OUT) $(READ) --wait 1h \
	  > "$$part"; \
	$(end)

bot: chats.jsonl reader .answer.options
	@$(begin); \
	bp-train chats.jsonl --preset $(PRESET) --method sft --adapter "$$(cat reader)" --eval-split $(HOLD_OUT) \
	  $(ANSWER) --wait 1h > "$$part"; \
	$(end)

answers.jsonl: bot
	@$(begin); bot=$$(cat bot); \
	bp-generate --adapter none --adapter "$$bot" --limit $(ANSWERS) "$${bot%/*}/eval.jsonl" > "$$part"; \
	$(end)
