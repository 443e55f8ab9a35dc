# Raw chats in raw/ -> clean records -> an adapter -> a check; only what changed is done again.
#
#   make -s -f retrain.mk                                     nano: any machine, a minute
#   make -s -f retrain.mk PRESET=qwen3b CHECK='match>=.6'     a real model, and what it must reach
#   BP_LEDGER=.ledger bptools trace "$(cat bot)"              where the adapter comes from
#
# It says nothing unless something fails. A run that was killed, at whatever moment, is gone on with by the same
# line, and gives the same records, weights and metrics. What a step said is in TARGET.log.
#
#   raw/           yours: chats in any format that bp-chatml(1) reads
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
# How much is held out: a share, or with 50 about a tenth until there are so many. A hash of each
# record draws it, with all its copies.
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

FILES := $(call found,$(RAW))
# Options are inputs, too: files that are written anew only when the options change.
clean_WITH := $(RAW) $(FILES) $(call odd,$(RAW)) $(MAX_REJECTS) $(DEDUP) $(PPL)
train_WITH := $(PRESET) $(HOLD_OUT) $(TRAIN)
check_WITH := $(ANSWERS) $(SCORE) $(CHECK)
ifneq ($(file <.clean.options),$(clean_WITH))
.clean.options: FORCE
endif
ifneq ($(file <.train.options),$(train_WITH))
.train.options: FORCE
endif
ifneq ($(file <.check.options),$(check_WITH))
.check.options: FORCE
endif
.%.options:
	@$(if $(LOOKING),,$(file >$@,$($*_WITH)))

# A run that was pruned is made again.
bot: $(if $(wildcard $(file <bot)),,FORCE)

clean.jsonl: $(FILES) .clean.options
	@$(call need,$(FILES),$(call odd,$(RAW)),chats into $(RAW)/)$(begin); \
	bp-chatml $(RAW) --to chat --max-rejects $(MAX_REJECTS) --rejects rejects.jsonl | $(DEDUP) | $(PPL) > "$$part"; \
	[ -s "$$part" ] || { \
	  echo "retrain: $@ would be empty: there is no chat in $(RAW)/, or DEDUP or PPL dropped them all;" \
	    "see also rejects.jsonl" >&2; exit 65; }; \
	$(end)

# What is held out is drawn by a hash of each record, and of a few it may be none: better known before the training.
few = END { held = NR * (share ~ /%/ ? share / 100 : share < 1 ? share : .1); if (held < 1) { \
  print "retrain: " NR " records are too few for HOLD_OUT=" share " to hold one out; raise it"; exit 65 } }
.enough: clean.jsonl .train.options
	@$(begin); \
	$(if $(findstring --eval,$(TRAIN)),,awk -v share='$(HOLD_OUT)' '$(few)' clean.jsonl >&2;) \
	touch "$$part"; \
	$(end)

# bp-train knows finished work by its records and settings, and unfinished work, with which it goes on.
bot: clean.jsonl .train.options
	@$(begin); \
	bp-train clean.jsonl --preset $(PRESET) --eval-split $(HOLD_OUT) $(TRAIN) --wait 1h > "$$part"; \
	$(end)

# What a run did not learn from is in its eval.jsonl.
answers.jsonl: .enough bot .check.options
	@$(begin); adapter=$$(cat bot); held_out=$${adapter%/*}/eval.jsonl; \
	[ -s "$$held_out" ] || { echo 'retrain: no record was held out to be answered; raise HOLD_OUT' >&2; exit 65; }; \
	bp-generate --adapter "$$adapter" --limit $(ANSWERS) --score $(SCORE) --check '$(CHECK)' "$$held_out" > "$$part"; \
	$(end)
