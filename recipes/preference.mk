# Chats, then preferences: an adapter by SFT that DPO goes on with, and the answers of both side by side.
#
#   make -s -f preference.mk
#   make -s -f preference.mk PRESET=qwen3b DPO='--beta 0.05'
#
# It says nothing unless something fails, and a run that was killed is gone on with by the same line.
# What a step said is in TARGET.log.
#
#   chats/          yours: chats in any format that bp-chatml(1) reads; names without white space
#   pairs/          yours: prompts with a chosen and a rejected answer, in any format
#   runs/           the trainings; the files sft and bot hold the paths of the adapters
#   compared.jsonl  prompts that were held out, with the answers of the model, of sft and of bot in bp.completions

PRESET   ?= nano
CHATS    ?= chats
PAIRS    ?= pairs
# More options of bp-train for either phase.
SFT      ?=
DPO      ?= --beta 0.1
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

CHAT_FILES := $(shell find $(CHATS) -type f ! -name '.*' | LC_ALL=C sort)
PAIR_FILES := $(shell find $(PAIRS) -type f ! -name '.*' | LC_ALL=C sort)
# Options are inputs, too: files that are written anew only when the options change.
CHATS_WITH := $(CHAT_FILES)
PAIRS_WITH := $(PAIR_FILES)
SFT_WITH := $(PRESET) $(HOLD_OUT) $(SFT)
DPO_WITH := $(HOLD_OUT) $(DPO)
ifneq ($(file <.chats.options),$(CHATS_WITH))
$(file >.chats.options,$(CHATS_WITH))
endif
ifneq ($(file <.pairs.options),$(PAIRS_WITH))
$(file >.pairs.options,$(PAIRS_WITH))
endif
ifneq ($(file <.sft.options),$(SFT_WITH))
$(file >.sft.options,$(SFT_WITH))
endif
ifneq ($(file <.dpo.options),$(DPO_WITH))
$(file >.dpo.options,$(DPO_WITH))
endif

# A run that was pruned is made again.
$(foreach made,sft bot,$(if $(file <$(made)),$(if $(wildcard $(file <$(made))),,$(shell rm -f $(made)))))

.PHONY: all
all: compared.jsonl

chats.jsonl: $(CHAT_FILES) .chats.options
	@$(begin); \
	bp-chatml $(CHATS) --to chat | bp-dedup --minhash > "$$part"; \
	$(end)

# Exact copies only: two pairs may well differ in a few words, which is what they are about.
pairs.jsonl: $(PAIR_FILES) .pairs.options
	@$(begin); \
	bp-chatml $(PAIRS) --to preference | bp-dedup > "$$part"; \
	$(end)

sft: chats.jsonl .sft.options
	@$(begin); \
	bp-train chats.jsonl --preset $(PRESET) --eval-split $(HOLD_OUT) $(SFT) --wait 1h > "$$part"; \
	$(end)

# The reference, which DPO does not stray far from, is the adapter as SFT left it.
bot: pairs.jsonl sft .dpo.options
	@$(begin); \
	bp-train pairs.jsonl --preset $(PRESET) --method dpo --adapter "$$(cat sft)" --eval-split $(HOLD_OUT) \
	  $(DPO) --wait 1h > "$$part"; \
	$(end)

compared.jsonl: bot
	@$(begin); sft=$$(cat sft) bot=$$(cat bot); \
	bp-generate --adapter none --adapter "$$sft" --adapter "$$bot" --limit $(ANSWERS) "$${bot%/*}/eval.jsonl" \
	  > "$$part"; \
	$(end)
