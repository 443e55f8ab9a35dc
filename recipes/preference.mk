# Chats, then preferences: an adapter by SFT that DPO goes on with, and the answers of both side by side.
#
#   make -s -f preference.mk
#   make -s -f preference.mk PRESET=qwen3b DPO='--beta 0.05'
#
# It says nothing unless something fails, and a run that was killed is gone on with by the same line.
# What a step said is in TARGET.log.
#
#   chats/          yours: chats in any format that bp-chatml(1) reads
#   pairs/          yours: prompts with a chosen and a rejected answer, in any format
#   runs/           the trainings; the files sft and bot hold the paths of the adapters
#   compared.jsonl  prompts that were held out, with the answers of the model, of sft and of bot in bp.completions

PRESET      ?= nano
CHATS       ?= chats
PAIRS       ?= pairs
# Lines that are no records are kept in *.rejects.jsonl; with more of them than this, nothing is made.
MAX_REJECTS ?= 1%
# More options of bp-train for either phase.
SFT         ?=
DPO         ?= --beta 0.1
# How much of either set is held out: a share, or with 50 about a tenth until there are so many. A hash of each
# record draws it, with all its copies.
HOLD_OUT    ?= 2%
ANSWERS     ?= 20

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
export BP_QUIET  := 1
export BP_LEDGER := .ledger

# What a step says is kept in a log and shown only if it fails. A target is written beside its place, and moved there
# when the whole pipe has succeeded: make removes what a failed step left, but not what a make left that was killed
# itself. Of two makes at once the second waits for each step of the first, where there is flock: what lies beside
# the place then is nobody's. Where there is none the number of the shell keeps their files apart, which is weaker: a
# number is given again, and where nobody buries the killed, as in many containers, it stays taken.
begin = exec 9>> $@.log; flock 9 2> /dev/null && rm -f $@.[0-9]*.part || :; \
        for old in $@.*.part; do pid=$${old%.part}; kill -0 "$${pid\#\#*.}" 2> /dev/null || rm -f "$$old"; done; \
        part=$@.$$$$.part; exec 3>&2 2> $@.log; \
        trap 'code=$$?; rm -f "$$part"; [ $$code = 0 ] || $(shown) >&3' EXIT
end   = mv "$$part" $@
# The option of bp-chatml that would help is a variable here.
shown = LC_ALL=C sed -E "/^bp-chatml: /s/--max-rejects ([0-9]+)/&, here MAX_REJECTS=\1,/" $@.log

# make -n, -q and -t only look, but what make itself does while it reads this file or puts a command together, it does
# even then: where LOOKING is not empty, nothing is written and nothing is refused.
LOOKING := $(strip $(foreach letter,n q t,$(findstring $(letter),$(firstword -$(MAKEFLAGS)))))

# $(call found,DIRS) are the files to read, $(call odd,DIRS) the first whose name make would take for something else;
# colons it takes with a backslash. $(call need,FILES,ODD,WHAT) stops where there is nothing, or such a name.
ODD   := *[[:space:];|\\(]*
found  = $(shell find -L $(1) -type f ! -name '.*' ! -path '$(ODD)' 2> /dev/null | LC_ALL=C sort | sed 's/:/\\:/g')
odd    = $(shell find -L $(1) -type f ! -name '.*' -path '$(ODD)' 2> /dev/null | LC_ALL=C sort | head -n 1)
need   = $(if $(LOOKING),,$(if $(2),$(error rename '$(2)': make takes no blank, ;, |, \ or bracket in a name))\
         $(if $(1),,$(error put $(3) first)))

.PHONY: all FORCE
all: compared.jsonl

CHAT_FILES := $(call found,$(CHATS))
PAIR_FILES := $(call found,$(PAIRS))
# Options are inputs, too: files that are written anew only when the options change.
chats_WITH := $(CHATS) $(CHAT_FILES) $(call odd,$(CHATS)) $(MAX_REJECTS)
pairs_WITH := $(PAIRS) $(PAIR_FILES) $(call odd,$(PAIRS)) $(MAX_REJECTS)
sft_WITH := $(PRESET) $(HOLD_OUT) $(SFT)
dpo_WITH := $(HOLD_OUT) $(DPO)
ifneq ($(file <.chats.options),$(chats_WITH))
.chats.options: FORCE
endif
ifneq ($(file <.pairs.options),$(pairs_WITH))
.pairs.options: FORCE
endif
ifneq ($(file <.sft.options),$(sft_WITH))
.sft.options: FORCE
endif
ifneq ($(file <.dpo.options),$(dpo_WITH))
.dpo.options: FORCE
endif
.%.options:
	@$(if $(LOOKING),,$(file >$@,$($*_WITH)))

# A run that was pruned is made again.
sft: $(if $(wildcard $(file <sft)),,FORCE)
bot: $(if $(wildcard $(file <bot)),,FORCE)

# That an empty file holds no record is no failure of bp-chatml(1): it is known here.
some = [ -s "$$part" ] || { \
  echo "preference: $@ would be empty: there is no record in $(1); see also $(2)" >&2; exit 65; }

chats.jsonl: $(CHAT_FILES) .chats.options
	@$(call need,$(CHAT_FILES),$(call odd,$(CHATS)),chats into $(CHATS)/)$(begin); \
	bp-chatml $(CHATS) --to chat --max-rejects $(MAX_REJECTS) --rejects chats.rejects.jsonl \
	  | bp-dedup --minhash > "$$part"; \
	$(call some,$(CHATS)/,chats.rejects.jsonl); \
	$(end)

# Exact copies only: two pairs may well differ in a few words, which is what they are about.
pairs.jsonl: $(PAIR_FILES) .pairs.options
	@$(call need,$(PAIR_FILES),$(call odd,$(PAIRS)),pairs into $(PAIRS)/)$(begin); \
	bp-chatml $(PAIRS) --to preference --max-rejects $(MAX_REJECTS) --rejects pairs.rejects.jsonl | bp-dedup > "$$part"; \
	$(call some,$(PAIRS)/,pairs.rejects.jsonl); \
	$(end)

# What is held out is drawn by a hash of each record, and of a few it may be none: better known before the training.
few = END { held = NR * (share ~ /%/ ? share / 100 : share < 1 ? share : .1); if (held < 1) { \
  print "preference: " NR " pairs are too few for HOLD_OUT=" share " to hold one out; raise it"; exit 65 } }
.enough: pairs.jsonl .dpo.options
	@$(begin); \
	$(if $(findstring --eval,$(DPO)),,awk -v share='$(HOLD_OUT)' '$(few)' pairs.jsonl >&2;) \
	touch "$$part"; \
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

compared.jsonl: .enough bot
	@$(begin); sft=$$(cat sft) bot=$$(cat bot); held_out=$${bot%/*}/eval.jsonl; \
	[ -s "$$held_out" ] || { echo 'preference: no record was held out to be answered; raise HOLD_OUT' >&2; exit 65; }; \
	bp-generate --adapter none --adapter "$$sft" --adapter "$$bot" --limit $(ANSWERS) "$$held_out" > "$$part"; \
	$(end)
