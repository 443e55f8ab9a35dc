# A folder of text, then chats: continued pre-training and instruction tuning of one adapter.
#
#   make -s -f documents.mk
#   make -s -f documents.mk PRESET=qwen3b READ='--epochs 3'
#
# It says nothing unless something fails, and a run that was killed is gone on with by the same line.
# What a step said is in TARGET.log.
#
#   docs/          yours: text and Markdown
#   chats/         yours: chats in any format that bp-chatml(1) reads
#   runs/          the trainings; the file reader holds the path of the adapter that has read docs/, bot that of the
#                  same one after it has learnt to answer
#   answers.jsonl  what the model alone and bot say to chats that were held out, in bp.completions

PRESET      ?= nano
DOCS        ?= docs
CHATS       ?= chats
# Lines that are no records are kept in *.rejects.jsonl; with more of them than this, nothing is made.
MAX_REJECTS ?= 1%
# The text is cut into pieces of this size; fenced code is never cut by paragraphs.
CHUNK       ?= 512tokens
# More options of bp-train for either phase. Words that the model does not know yet want the vocabulary trained, too:
# READ='--modules-to-save embed_tokens --modules-to-save lm_head'.
READ        ?=
ANSWER      ?=
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
all: answers.jsonl

DOC_FILES  := $(call found,$(DOCS))
CHAT_FILES := $(call found,$(CHATS))
# Options are inputs, too: files that are written anew only when the options change.
pieces_WITH := $(DOCS) $(DOC_FILES) $(call odd,$(DOCS)) $(MAX_REJECTS) $(CHUNK)
chats_WITH := $(CHATS) $(CHAT_FILES) $(call odd,$(CHATS)) $(MAX_REJECTS)
read_WITH := $(PRESET) $(HOLD_OUT) $(READ)
answer_WITH := $(HOLD_OUT) $(ANSWER)
ifneq ($(file <.pieces.options),$(pieces_WITH))
.pieces.options: FORCE
endif
ifneq ($(file <.chats.options),$(chats_WITH))
.chats.options: FORCE
endif
ifneq ($(file <.read.options),$(read_WITH))
.read.options: FORCE
endif
ifneq ($(file <.answer.options),$(answer_WITH))
.answer.options: FORCE
endif
.%.options:
	@$(if $(LOOKING),,$(file >$@,$($*_WITH)))

# A run that was pruned is made again.
reader: $(if $(wildcard $(file <reader)),,FORCE)
bot: $(if $(wildcard $(file <bot)),,FORCE)

# That an empty file holds no record is no failure of bp-chatml(1): it is known here.
some = [ -s "$$part" ] || { \
  echo "documents: $@ would be empty: there is no record in $(1); see also $(2)" >&2; exit 65; }

pieces.jsonl: $(DOC_FILES) .pieces.options
	@$(call need,$(DOC_FILES),$(call odd,$(DOCS)),text into $(DOCS)/)$(begin); \
	bp-chatml $(DOCS) --chunk $(CHUNK) --to text --max-rejects $(MAX_REJECTS) --rejects pieces.rejects.jsonl \
	  | bp-dedup --minhash > "$$part"; \
	$(call some,$(DOCS)/,pieces.rejects.jsonl); \
	$(end)

chats.jsonl: $(CHAT_FILES) .chats.options
	@$(call need,$(CHAT_FILES),$(call odd,$(CHATS)),chats into $(CHATS)/)$(begin); \
	bp-chatml $(CHATS) --to chat --max-rejects $(MAX_REJECTS) --rejects chats.rejects.jsonl \
	  | bp-dedup --minhash > "$$part"; \
	$(call some,$(CHATS)/,chats.rejects.jsonl); \
	$(end)

# What is held out is drawn by a hash of each record, and of a few it may be none: better known before the training.
few = END { held = NR * (share ~ /%/ ? share / 100 : share < 1 ? share : .1); if (held < 1) { \
  print "documents: " NR " chats are too few for HOLD_OUT=" share " to hold one out; raise it"; exit 65 } }
.enough: chats.jsonl .answer.options
	@$(begin); \
	$(if $(findstring --eval,$(ANSWER)),,awk -v share='$(HOLD_OUT)' '$(few)' chats.jsonl >&2;) \
	touch "$$part"; \
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

answers.jsonl: .enough bot
	@$(begin); bot=$$(cat bot); held_out=$${bot%/*}/eval.jsonl; \
	[ -s "$$held_out" ] || { echo 'documents: no record was held out to be answered; raise HOLD_OUT' >&2; exit 65; }; \
	bp-generate --adapter none --adapter "$$bot" --limit $(ANSWERS) "$$held_out" > "$$part"; \
	$(end)
